# bailiff_module(NAME [DEPENDS module...] [LIBRARIES lib...])
#
# One directory under src/ becomes one static library and, if it has *_test.cc files, one test
# binary. Include paths are "module/file.h", so a reader always sees where a name comes from.
# DEPENDS must match tools/check_layering.py, which compares what is actually included.
function(bailiff_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPENDS;LIBRARIES")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(NOT sources)
    return()
  endif()

  add_library(${name} STATIC ${sources})
  # -iquote, so that "sys/file.h" is ours and <sys/file.h> stays the system's.
  target_compile_options(${name} PUBLIC "SHELL:-iquote ${CMAKE_SOURCE_DIR}/src")
  target_link_libraries(${name} PUBLIC ${arg_DEPENDS} ${arg_LIBRARIES})
  target_compile_options(${name} PRIVATE ${BAILIFF_WARNINGS})

  if(tests)
    add_executable(${name}_test ${tests})
    target_compile_options(${name}_test PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}")
    target_link_libraries(${name}_test PRIVATE ${name} GTest::gmock GTest::gtest_main)
    target_compile_options(${name}_test PRIVATE ${BAILIFF_WARNINGS})
    add_test(NAME ${name} COMMAND ${name}_test)
  endif()
endfunction()

set(BAILIFF_WARNINGS
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
    -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wswitch -Werror
    # Designated initializers leave out what its default says; g++ counts that as forgotten.
    -Wno-missing-field-initializers
    # A false alarm of g++ 12 on std::string (GCC bug 105651).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
    # What libseccomp's macros expand to.
    $<$<CXX_COMPILER_ID:Clang>:-Wno-c99-extensions>)
