#pragma once
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

/// A folder of kernels to compile with m40llm-nvrtc.
namespace m40llm {

namespace fs = std::filesystem;

/// In quotes of the shell's.
inline const std::string kNvrtcTool = "'" M40LLM_NVRTC_TOOL "'";

struct Outcome {
  int exit_code = -1;
  std::string text;  ///< stdout and stderr
};

/// Runs a line of shell.
inline Outcome execute(const std::string& command) {
  Outcome outcome;
  std::FILE* const pipe = popen(("(" + command + ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
    outcome.text.append(part.data(), got);
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

inline std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// A new folder, gone with the object; its name has a space, as a checkout's may.
class KernelProject {
 public:
  KernelProject() {
    static std::atomic<int> made = 0;
    root_ = fs::temp_directory_path() /
            ("m40llm kernels " + std::to_string(getpid()) + "." + std::to_string(made++));
    fs::remove_all(root_);
    fs::create_directories(root_ / "kernels");
  }
  ~KernelProject() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  KernelProject(const KernelProject&) = delete;
  KernelProject& operator=(const KernelProject&) = delete;

  const fs::path& root() const { return root_; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(root_ / name, std::ios::binary) << text;
  }

  /// Compiles a source of the project into its folder "out".
  Outcome compile(const std::string& source,
                  const std::string& archs = "--arch compute_52 --arch sm_52") const {
    return execute("cd '" + root_.string() + "' && " + kNvrtcTool + " " + archs +
                   " --include . --out out --depfile out/k.d --toolkit 12.9.86 " + source);
  }

 private:
  fs::path root_;
};

}  // namespace m40llm
