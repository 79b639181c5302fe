# Writes bench/build_info.hpp into the build tree: what was built, for the header of every record. Run at every build, so that the commit
# is the one that was built and not the one that was configured; the file is touched only when something changed.
#   cmake -DSOURCE=<root> -DOUT=<build>/generated/bench/build_info.hpp -DPRESET=<name> -DCOMPILER=<name> -DFLAGS=<flags>
#         -P bench/build_info.cmake
set(commit "unknown")
set(dirty "false")
# What decides the binaries and the images; notes (README.md) do not.
set(decides engine kernels reference bench scripts/cmake scripts/setup scripts/requirements.txt CMakeLists.txt CMakePresets.json)
foreach(path IN LISTS decides)
  if(NOT EXISTS "${SOURCE}/${path}")
    message(FATAL_ERROR "bench/build_info.cmake: there is no ${path}, which it looks for changes in")
  endif()
endforeach()
find_program(GIT git)
if(GIT)
  # A tree without a repository of its own may lie in another's.
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --show-prefix --verify HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed AND head MATCHES "^\n([0-9a-f]+)$")
    set(commit "${CMAKE_MATCH_1}")
    # Files that git does not know, too: kernels/*.cu are compiled as they are found, those that git ignores among them.
    execute_process(COMMAND ${GIT} -C ${SOURCE} status --porcelain --untracked-files=all -- ${decides} ":(exclude)*.md"
                    OUTPUT_VARIABLE changes RESULT_VARIABLE failed ERROR_QUIET)
    execute_process(COMMAND ${GIT} -C ${SOURCE} ls-files --others -- "kernels/*.cu" "kernels/*.h"
                    OUTPUT_VARIABLE unknown RESULT_VARIABLE failed_too ERROR_QUIET)
    if(changes OR unknown OR failed OR failed_too)
      set(dirty "true")
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT "${OUT}" @ONLY NEWLINE_STYLE UNIX CONTENT [[
#pragma once
namespace m40llm::bench {
inline constexpr const char* kBuildCommit = "@commit@";
inline constexpr bool kBuildDirty = @dirty@;
inline constexpr const char* kBuildPreset = "@PRESET@";
inline constexpr const char* kBuildCompiler = "@COMPILER@";
inline constexpr const char* kBuildFlags = R"(@FLAGS@)";
}  // namespace m40llm::bench
]])
