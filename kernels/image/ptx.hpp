#pragma once
#include <map>
#include <string>

namespace m40llm::image {

/// The kernels of a PTX text that NVRTC made, and the data of the module that each reads beside its parameters: the
/// declarations of all its variables (`__constant__`, `__device__`, tables) with their values, or "" if the kernel
/// names none. sm_52's machine code reads them at places that it does not name. A kernel that names one gets all:
/// where a variable lies depends on the others, and it may point to one. Throws std::runtime_error on a
/// declaration that is not understood.
std::map<std::string, std::string> read_ptx(const std::string& text);

}  // namespace m40llm::image
