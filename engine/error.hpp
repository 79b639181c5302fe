#pragma once
#include <stdexcept>
#include <string>

namespace m40llm {

/// Something the user can cause and mend: a file, a flag's value, a shape, a device. The message names the
/// thing, its value and what was expected. Binaries print it and exit with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A command line that does not say what to do: an unknown flag, op, variant or device. Binaries exit with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Memory that something needs and that there is not, found before it was taken where that can be known.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace m40llm
