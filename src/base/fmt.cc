// Debian has fmt as a shared library only, and the program is linked statically: these are the
// functions that callers expect to find there, as the library's own src/format.cc makes them.

#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {

template thousands_sep_result<char> thousands_sep_impl(locale_ref);
template char decimal_point_impl(locale_ref);

}  // namespace detail
FMT_END_NAMESPACE
