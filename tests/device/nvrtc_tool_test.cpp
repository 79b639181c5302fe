#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <string>

#include "tests/device/kernel_project.hpp"

/// m40llm-nvrtc and m40llm_add_images, used as the build uses them, on projects made here.
namespace m40llm {
namespace {

namespace fs = std::filesystem;

class NvrtcTool : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { project_.write(name, text); }
  Outcome compile(const std::string& source,
                  const std::string& archs = "--arch compute_52 --arch sm_52") const {
    return project_.compile(source, archs);
  }
  /// Nothing was written, not even in part.
  bool nothing_left() const { return !fs::exists(root_ / "out") || fs::is_empty(root_ / "out"); }
  /// The hash that the table of an image gives a kernel of this source.
  std::string code_hash(const std::string& text, const std::string& kernel,
                        const std::string& arch = "sm_52") const {
    write("kernels/k.cu", text);
    const Outcome outcome = compile("kernels/k.cu", "--arch " + arch);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
    const std::string table = read_file(root_ / "out/k.images.cpp");
    const std::size_t row = table.find("{\"" + kernel + "\"");
    const std::size_t end = table.find('}', row);
    const std::size_t at = table.rfind("0x", end);
    return table.substr(at, table.find('u', at) + 1 - at);
  }

  KernelProject project_;
  const fs::path& root_ = project_.root();
};

constexpr const char* kGood = "extern \"C\" __global__ void good(float* y) { y[threadIdx.x] = 1; }\n";

TEST_F(NvrtcTool, WritesAnImagePerArch) {
  write("kernels/k.cu", kGood);
  const Outcome outcome = compile("kernels/k.cu", "--arch compute_52 --arch sm_52 --arch sm_90");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_EQ(outcome.text, "");
  EXPECT_EQ(read_file(root_ / "out/k.sm_52.cubin").substr(1, 3), "ELF");
  EXPECT_EQ(read_file(root_ / "out/k.sm_90.cubin").substr(1, 3), "ELF");
  const std::string ptx = read_file(root_ / "out/k.compute_52.ptx");
  EXPECT_NE(ptx.find(".target sm_52"), std::string::npos);
  EXPECT_EQ(ptx.find('\0'), ptx.size() - 1);
  EXPECT_NE(read_file(root_ / "out/k.images.cpp").find("\"good\""), std::string::npos);
}

TEST_F(NvrtcTool, MakesTheSameBytesInEveryFolder) {
  write("kernels/k.cu", kGood);
  const KernelProject elsewhere;
  elsewhere.write("kernels/k.cu", kGood);
  ASSERT_NE(elsewhere.root(), root_);
  ASSERT_EQ(compile("kernels/k.cu").exit_code, 0);
  ASSERT_EQ(elsewhere.compile("kernels/k.cu").exit_code, 0);
  for (const char* file : {"out/k.sm_52.cubin", "out/k.compute_52.ptx"}) {
    EXPECT_EQ(read_file(root_ / file), read_file(elsewhere.root() / file)) << file;
  }
}

TEST_F(NvrtcTool, NamesEveryHeaderThatWasReadAndNoOther) {
  write("kernels/k.cu",
        "#include \"kernels/a.cuh\"\n#ifndef __CUDACC_RTC__\n#include \"kernels/host.hpp\"\n#endif\n" +
            std::string(kGood));
  write("kernels/a.cuh", "#pragma once\n#include \"kernels/b.h\"\n#include \"kernels/b.h\"\n");
  write("kernels/b.h", "#pragma once\n");
  write("kernels/host.hpp", "#error only on the host\n");
  const Outcome outcome = compile("kernels/k.cu");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  const std::string rule = read_file(root_ / "out/k.d");
  for (const char* name : {"k.cu", "a.cuh", "b.h"})
    EXPECT_NE(rule.find(std::string("/kernels/") + name), std::string::npos) << name;
  EXPECT_EQ(rule.find("host.hpp"), std::string::npos) << rule;
}

/// A kernel's hash is of what it does: neither a comment nor a kernel beside it changes it.
TEST_F(NvrtcTool, HashesEachKernelsCode) {
  const auto kernel = [](const std::string& name, const std::string& to) {
    return "extern \"C\" __global__ void " + name +
           "(float* y) {\n  __shared__ float s[64];\n  s[threadIdx.x] = " + to +
           ";\n  __syncthreads();\n  y[threadIdx.x] = s[63 - threadIdx.x] * 1.7f;\n}\n";
  };
  const std::string one = kernel("one", "1.1f");
  const std::string first = code_hash(one, "one");
  EXPECT_EQ(first.size(), 19u) << first;
  EXPECT_EQ(code_hash("// a comment\n\n" + one, "one"), first);
  EXPECT_EQ(code_hash(kernel("before", "3.3f") + one + kernel("two", "y[7]"), "one"), first);
  EXPECT_NE(code_hash(kernel("before", "3.3f") + one, "before"), first);
  EXPECT_NE(code_hash(kernel("one", "1.2f"), "one"), first);
}

/// A table stands beside the code, which is the same whatever values it has.
TEST_F(NvrtcTool, HashesTheTablesThatAKernelReads) {
  const std::string plain = "extern \"C\" __global__ void plain(float* y) { y[threadIdx.x] = 1; }\n";
  // NVRTC gives the constant a place too, which nothing reads.
  const std::string plain_of_constant =
      "constexpr int kOne = 1;\nextern \"C\" __global__ void plain(float* y) { y[threadIdx.x] = kOne; }\n";
  const auto reads = [](const std::string& table) {
    return "extern \"C\" __global__ void reads(float* y) { y[threadIdx.x] = " + table +
           "[threadIdx.x & 3]; }\n";
  };
  const std::string sources[] = {
      "__constant__ float table[4] = {1, 2, 3, LAST};\n" + reads("table"),
      "__device__ float table[4] = {1, 2, 3, LAST};\n" + reads("table"),
      "constexpr float kTable[4] = {1, 2, 3, LAST};\n" + reads("kTable"),
      "namespace { __constant__ float table[4] = {1, 2, 3, LAST}; }\n" + reads("table"),
      "template <int kN> struct Of { static constexpr float kTable[4] = {1, 2, 3, kN}; };\n" +
          reads("Of<LAST>::kTable"),
      // Which of two tables.
      "__device__ float table4[4] = {1, 2, 3, 4}, table5[4] = {1, 2, 3, 5};\n" + reads("tableLAST"),
      // By a pointer that stands in another.
      "__device__ const float table[4] = {1, 2, 3, LAST};\n"
      "__constant__ const float* const rows[4] = {table, table + 1, table + 2, table + 3};\n" +
          reads("*rows"),
      // In a function that is called.
      "__constant__ float table[4] = {1, 2, 3, LAST};\n"
      "__device__ __noinline__ float at(int i) { return table[i]; }\n"
      "extern \"C\" __global__ void reads(float* y) { y[threadIdx.x] = at(threadIdx.x & 3); }\n"};
  for (const std::string arch : {"sm_52", "sm_90"}) {
    const std::string of_plain = code_hash(plain, "plain", arch);
    EXPECT_EQ(code_hash(plain_of_constant, "plain", arch), of_plain);
    for (const std::string& source : sources) {
      SCOPED_TRACE(arch + ":\n" + source);
      const auto ending_with = [&](const char* last) {
        return std::regex_replace(source, std::regex("LAST"), last);
      };
      const std::string first = code_hash(ending_with("4"), "reads", arch);
      EXPECT_NE(code_hash(ending_with("5"), "reads", arch), first);
      EXPECT_EQ(code_hash("// a comment\n" + ending_with("4") + plain, "reads", arch), first);
    }
    // A table that only its neighbour reads.
    EXPECT_EQ(
        code_hash("__constant__ float table[4] = {1, 2, 3, 4};\n" + reads("table") + plain, "plain", arch),
        of_plain);
  }
}

TEST_F(NvrtcTool, RefusesSpillsByName) {
  write("kernels/k.cu", std::string(kGood) + R"(
extern "C" __global__ void __launch_bounds__(1024, 2) crowded(float* y, int n) {
  float r[64];
#pragma unroll
  for (int i = 0; i < 64; i++) r[i] = y[i * 1024 + threadIdx.x];
  for (int k = 0; k < n; k++) {
#pragma unroll
    for (int i = 0; i < 64; i++) r[i] = fmaf(r[i], r[(i + 7) & 63], r[(i * 5) & 63]);
  }
#pragma unroll
  for (int i = 0; i < 64; i++) y[i * 1024 + threadIdx.x] = r[i];
})");
  const Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("kernels/k.cu: error: kernel 'crowded' on sm_52 spills"), std::string::npos)
      << outcome.text;
  EXPECT_EQ(outcome.text.find("good"), std::string::npos) << outcome.text;
  EXPECT_TRUE(nothing_left());
}

TEST_F(NvrtcTool, RefusesArraysInLocalMemoryByName) {
  write("kernels/k.cu", R"(extern "C" __global__ void indexes(const float* x, const int* at, float* y) {
  float own[64];
  for (int i = 0; i < 64; i++) own[at[i]] = x[i];
  for (int i = 0; i < 64; i++) y[i] = own[at[64 + i]];
})");
  const Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("kernel 'indexes' on sm_52 keeps 256 bytes"), std::string::npos)
      << outcome.text;
  EXPECT_TRUE(nothing_left());
}

TEST_F(NvrtcTool, RefusesTooMuchSharedMemoryByName) {
  write("kernels/k.cu", R"(extern "C" __global__ void wide(float* y) {
  __shared__ float row[12289];
  row[threadIdx.x] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row[threadIdx.x ^ 1];
})");
  const Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("wide"), std::string::npos) << outcome.text;
  EXPECT_NE(outcome.text.find("too much shared data"), std::string::npos) << outcome.text;
  EXPECT_TRUE(nothing_left());
}

TEST_F(NvrtcTool, SaysFileAndLineOfAnErrorAndLeavesNothing) {
  write("kernels/k.cu", "#include \"kernels/a.cuh\"\n" + std::string(kGood));
  write("kernels/a.cuh", "#pragma once\n__device__ int f() { return missing; }\n");
  const Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("kernels/a.cuh(2): error: identifier \"missing\" is undefined"),
            std::string::npos)
      << outcome.text;
  EXPECT_EQ(outcome.text.find('\0'), std::string::npos);
  EXPECT_EQ(outcome.text.find("deprecated"), std::string::npos) << outcome.text;
  EXPECT_TRUE(nothing_left());
}

TEST_F(NvrtcTool, TakesAWarningForAnError) {
  write("kernels/k.cu", "extern \"C\" __global__ void k(float* y) { int unused; y[0] = 1; }\n");
  const Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("kernels/k.cu(1): warning"), std::string::npos) << outcome.text;
  EXPECT_TRUE(nothing_left());
}

TEST_F(NvrtcTool, FindsNoHeaderOutsideTheProject) {
  write("kernels/k.cu", "#include <cuda_fp16.h>\n" + std::string(kGood));
  Outcome outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.text.find("could not open source file \"cuda_fp16.h\""), std::string::npos)
      << outcome.text;
  // Nor beside the source: paths start at the root.
  write("kernels/k.cu", "#include \"a.cuh\"\n" + std::string(kGood));
  write("kernels/a.cuh", "#pragma once\n");
  outcome = compile("kernels/k.cu");
  EXPECT_EQ(outcome.exit_code, 1);
}

TEST_F(NvrtcTool, SaysWhatACommandLineLacks) {
  EXPECT_EQ(execute(kNvrtcTool + " --arch sm_52").exit_code, 2);
  EXPECT_EQ(execute(kNvrtcTool + " --arch 52 --include . --out out --depfile d --toolkit 1 k.cu").exit_code,
            2);
  EXPECT_EQ(execute(kNvrtcTool + " --frobnicate 1 k.cu").exit_code, 2);
  const Outcome missing = compile("kernels/missing.cu");
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_NE(missing.text.find("missing.cu"), std::string::npos);
}

TEST_F(NvrtcTool, TheBuildCompilesAgainWhatChangedAndNothingElse) {
  write("kernels/a.cu", "#include \"kernels/a.cuh\"\n" + std::string(kGood));
  write("kernels/a.cuh", "#pragma once\n#include \"kernels/deep.h\"\n");
  write("kernels/deep.h", "#pragma once\n");
  write("kernels/b.cu", "extern \"C\" __global__ void b(float* y) { y[threadIdx.x] = 2; }\n");
  write("kernels/unrelated.h", "#pragma once\n");
  write("CMakeLists.txt", R"(cmake_minimum_required(VERSION 3.25)
project(images LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
list(APPEND CMAKE_MODULE_PATH ")" M40LLM_CMAKE_MODULES R"(")
include_directories(")" M40LLM_ROOT R"(")
add_executable(m40llm-nvrtc IMPORTED)
set_target_properties(m40llm-nvrtc PROPERTIES IMPORTED_LOCATION ")" M40LLM_NVRTC_TOOL R"(")
include(CudaImages)
m40llm_add_images(images SOURCES kernels/a.cu ARCHS compute_52)
m40llm_add_images(more_images SOURCES kernels/b.cu ARCHS compute_52)
add_library(between STATIC ")" M40LLM_ROOT R"(/engine/device/image.cpp")
target_link_libraries(between PUBLIC images)
add_executable(show show.cpp)
target_link_libraries(show between more_images)
m40llm_add_images(twice SOURCES kernels/c.cu ARCHS compute_52)
add_executable(show_twice show.cpp)
target_link_libraries(show_twice between more_images twice)
)");
  write("kernels/c.cu", "extern \"C\" __global__ void b(float* y) { y[threadIdx.x] = 3; }\n");
  write("show.cpp", R"(#include <iostream>
#include <stdexcept>
#include "engine/device/image.hpp"
int main() try {
  std::cout << m40llm::images_toolkit();
  for (const auto& image : m40llm::images()) std::cout << ' ' << image.source << '.' << image.arch;
  const auto* kernel = m40llm::find_resources("sm_52", "b");
  std::cout << (kernel != nullptr && kernel->registers > 0 ? " b" : " no b");
} catch (const std::logic_error& error) {
  std::cout << ": " << error.what();
})");
  const std::string folder = "cd '" + root_.string() + "' && ";
  const Outcome configured =
      execute(folder + "'" M40LLM_CMAKE "'" + " -G Ninja -S . -B build -DM40LLM_VENV='" M40LLM_VENV "'");
  ASSERT_EQ(configured.exit_code, 0) << configured.text;
  const auto build = [&] { return execute(folder + "'" M40LLM_CMAKE "'" + " --build build -- -v"); };
  const auto compiled = [](const Outcome& outcome, const std::string& source) {
    return outcome.text.find("kernels/" + source + "'") != std::string::npos ||
           outcome.text.find("kernels/" + source + "\"") != std::string::npos;
  };

  Outcome outcome = build();
  ASSERT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_TRUE(compiled(outcome, "a.cu")) << outcome.text;
  EXPECT_TRUE(compiled(outcome, "b.cu")) << outcome.text;
  EXPECT_EQ(execute(folder + "build/show").text, "12.9.86 a.compute_52 a.sm_52 b.compute_52 b.sm_52 b");
  EXPECT_EQ(execute(folder + "build/show_twice").text,
            "12.9.86: two kernels 'b' for compute_52, of b.cu and c.cu; one of a name is expected");

  EXPECT_NE(build().text.find("no work to do"), std::string::npos);

  write("kernels/unrelated.h", "#pragma once\n// touched\n");
  EXPECT_NE(build().text.find("no work to do"), std::string::npos);

  write("kernels/deep.h", "#pragma once\n__device__ inline int added() { return 1; }\n");
  outcome = build();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  EXPECT_TRUE(compiled(outcome, "a.cu")) << outcome.text;
  EXPECT_FALSE(compiled(outcome, "b.cu")) << outcome.text;
  EXPECT_NE(build().text.find("no work to do"), std::string::npos);
}

}  // namespace
}  // namespace m40llm
