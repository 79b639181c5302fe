# Writes bench/build_info.hpp into the build tree: what was built, for the header of every record. Run at every build, so that the commit
# is the one that was built and not the one that was configured; the file is touched only when something changed.
#   cmake -DSOURCE=<root> -DOUT=<build>/generated/bench/build_info.hpp -DPRESET=<name> -DCOMPILER=<name> -DFLAGS=<flags>
#         -P bench/build_info.cmake
set(commit "unknown")
set(dirty "false")
find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE} rev-parse --verify HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit "${head}")
    # Records and notes do not change what was built, so only the code counts.
    execute_process(COMMAND ${GIT} -C ${SOURCE} status --porcelain -- engine kernels reference bench CMakeLists.txt
                            CMakePresets.json cmake scripts/requirements.txt
                    OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
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
