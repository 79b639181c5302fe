# m40llm_add_images(<target> SOURCES <a.cu> ... ARCHS <sm_52> <compute_52> ... [ROOT <dir>])
#
# A library with the machine code of kernel files for every arch asked for, which engine/device/image.cpp serves; a program may have several. Each file is
# compiled by the target m40llm-nvrtc when it, or a header it includes, has changed. sm_52 is always among the archs: it is what the
# kernels are checked against. Include paths start at ROOT (default: the project's root). Needs a generator that reads dependency files:
# Ninja or Makefiles.
find_package(Nvrtc REQUIRED)

function(m40llm_add_images target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ROOT" "SOURCES;ARCHS")
  if(NOT arg_SOURCES OR NOT arg_ARCHS OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "m40llm_add_images(${target}): SOURCES and ARCHS are needed, and nothing but them and ROOT")
  endif()
  if(NOT arg_ROOT)
    set(arg_ROOT "${PROJECT_SOURCE_DIR}")
  endif()

  list(PREPEND arg_ARCHS sm_52)
  list(REMOVE_DUPLICATES arg_ARCHS)

  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}")
  set(arch_flags "")
  foreach(arch IN LISTS arg_ARCHS)
    list(APPEND arch_flags --arch ${arch})
  endforeach()

  set(generated "")
  foreach(source IN LISTS arg_SOURCES)
    get_filename_component(path "${source}" ABSOLUTE)
    get_filename_component(stem "${source}" NAME_WE)
    file(RELATIVE_PATH shown "${arg_ROOT}" "${path}")
    # The first output is the one that the dependency file names.
    set(outputs "${out}/${stem}.images.cpp")
    foreach(arch IN LISTS arg_ARCHS)
      if(arch MATCHES "^compute_")
        list(APPEND outputs "${out}/${stem}.${arch}.ptx")
      else()
        list(APPEND outputs "${out}/${stem}.${arch}.cubin")
      endif()
    endforeach()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND m40llm-nvrtc ${arch_flags} --include "${arg_ROOT}" --out "${out}" --depfile "${out}/${stem}.d"
              --toolkit "${Nvrtc_VERSION}" "${path}"
      DEPENDS "${path}" m40llm-nvrtc
      DEPFILE "${out}/${stem}.d"
      COMMENT "Compiling ${shown} for the GPU"
      VERBATIM)
    list(APPEND generated "${out}/${stem}.images.cpp")
  endforeach()

  # Images register themselves: nothing names them, so whoever links the target, by way of other libraries too, gets their objects.
  add_library(${target}_objects OBJECT ${generated})
  target_include_directories(${target}_objects PRIVATE "${PROJECT_SOURCE_DIR}")
  target_compile_features(${target}_objects PRIVATE cxx_std_20)
  add_library(${target} INTERFACE)
  target_sources(${target} INTERFACE $<TARGET_OBJECTS:${target}_objects>)
endfunction()
