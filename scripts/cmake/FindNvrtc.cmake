# NVRTC, the compiler of the kernels, from the Python wheel that scripts/setup puts into the project's virtual environment, and from
# nowhere else: the machine code is decided by the commit, not by a CUDA that a system happens to have.
#
#   M40LLM_VENV    the virtual environment (cache; default: .venv in the project's root)
#   Nvrtc::nvrtc   the imported library
#   Nvrtc_VERSION  the wheel's version, "12.9.86"
#   Nvrtc_LIBRARY_DIR  where the library lies, for the rpath of the tool

set(M40LLM_VENV "${PROJECT_SOURCE_DIR}/.venv" CACHE PATH "virtual environment with the pinned NVRTC wheel")
set(_nvrtc_wanted 12.9.86)

file(GLOB _nvrtc_infos
     "${M40LLM_VENV}/lib/python3*/site-packages/nvidia_cuda_nvrtc_cu12-${_nvrtc_wanted}.dist-info")
list(LENGTH _nvrtc_infos _nvrtc_count)
unset(Nvrtc_VERSION)
if(_nvrtc_count GREATER 0)
  list(GET _nvrtc_infos 0 _nvrtc_info)
  get_filename_component(_nvrtc_site "${_nvrtc_info}" DIRECTORY)
  set(Nvrtc_LIBRARY_DIR "${_nvrtc_site}/nvidia/cuda_nvrtc/lib")
  set(Nvrtc_INCLUDE_DIR "${_nvrtc_site}/nvidia/cuda_nvrtc/include")
  if(EXISTS "${Nvrtc_LIBRARY_DIR}/libnvrtc.so.12" AND EXISTS "${Nvrtc_INCLUDE_DIR}/nvrtc.h")
    set(Nvrtc_VERSION ${_nvrtc_wanted})
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  Nvrtc
  REQUIRED_VARS Nvrtc_VERSION
  REASON_FAILURE_MESSAGE
    "nvidia-cuda-nvrtc-cu12==${_nvrtc_wanted} is not in ${M40LLM_VENV}. Run scripts/setup, or set M40LLM_VENV to a virtual environment that has it.")

if(Nvrtc_FOUND AND NOT TARGET Nvrtc::nvrtc)
  add_library(Nvrtc::nvrtc SHARED IMPORTED)
  set_target_properties(
    Nvrtc::nvrtc PROPERTIES IMPORTED_LOCATION "${Nvrtc_LIBRARY_DIR}/libnvrtc.so.12"
                            INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${Nvrtc_INCLUDE_DIR}"
                            INTERFACE_INCLUDE_DIRECTORIES "${Nvrtc_INCLUDE_DIR}")
endif()
