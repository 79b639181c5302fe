#include "kernels/image/embed.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace m40llm::image {
namespace {

std::string hex(std::uint64_t value) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// The text inside a string literal.
std::string escaped(const std::string& text) {
  std::string literal;
  for (const char c : text) {
    if (c == '"' || c == '\\') literal += '\\';
    literal += c;
  }
  return literal;
}

std::string identifier(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return text;
}

std::string kernel_row(const KernelRow& row) {
  const CubinKernel& kernel = row.kernel;
  return "    {\"" + kernel.name + "\", " + std::to_string(kernel.registers) + ", " +
         std::to_string(kernel.static_shared_bytes) + ", " + std::to_string(kernel.frame_bytes) + ", " +
         std::to_string(row.spill_bytes) + ", " + hex(kernel.code_hash) + "u, " +
         std::to_string(kernel.loop.inner) + ", " + std::to_string(kernel.loop.outer) + "},\n";
}

}  // namespace

std::string embedding(const std::string& stem, const Source& source, const std::string& toolkit,
                      std::span<const ImageFile> images) {
  std::string symbols;
  std::string tables;
  std::string rows;
  for (const ImageFile& image : images) {
    const std::string name = identifier(stem + "_" + image.arch);
    const std::string symbol = "m40llm_image_" + name;
    const std::string size = std::to_string(image.code.size());
    const std::string hash = hex(XXH3_64bits(image.code.data(), image.code.size()));
    // The path is a literal of the assembler inside one of C++. The hash stands in the text, so that the
    // text, and with it the object file, changes when the machine code does.
    symbols += "__asm__(\".pushsection .rodata\\n.balign 64\\n.globl " + symbol + "\\n.hidden " + symbol +
               "\\n" + symbol + ":\\n.incbin \\\"" + escaped(escaped(image.path.string())) +
               "\\\"\\n.popsection\\n\");\n" + "extern \"C\" const std::byte " + symbol + "[" + size + "];\n";
    tables += "constexpr KernelResources kernels_" + name + "[] = {\n";
    for (const KernelRow& row : image.kernels) tables += kernel_row(row);
    tables += "};\n";
    rows += "    {\"" + stem + "\", \"" + image.arch + "\", " + (image.ptx ? "true" : "false") + ", " + hash +
            "u, {" + symbol + ", " + size + "}, kernels_" + name + "},\n";
  }
  return "// Made by m40llm-nvrtc from " + source.name + ".\n#include \"engine/device/image_table.hpp\"\n\n" +
         symbols + "\nnamespace m40llm {\nnamespace {\n" + tables + "constinit const Image images[] = {\n" +
         rows + "};\nconst RegisterImages registered(\"" + escaped(toolkit) +
         "\", images);\n}  // namespace\n}  // namespace m40llm\n";
}

std::string depfile(const std::filesystem::path& target, const std::set<std::filesystem::path>& files) {
  const auto escaped_path = [](const std::filesystem::path& path) {
    std::string text;
    for (const char c : path.string()) {
      if (c == ' ' || c == '#') text += '\\';
      if (c == '$') text += '$';
      text += c;
    }
    return text;
  };
  std::string rule = escaped_path(target) + ":";
  for (const std::filesystem::path& file : files) rule += " \\\n  " + escaped_path(file);
  return rule + "\n";
}

}  // namespace m40llm::image
