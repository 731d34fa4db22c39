// The parts of Asio that are not templates, once for the whole program: the module is compiled with
// BOOST_ASIO_SEPARATE_COMPILATION, and so is whoever uses it.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
