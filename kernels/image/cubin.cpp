#include "kernels/image/cubin.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string_view>

namespace m40llm::image {
namespace {

using Bytes = std::span<const std::byte>;

// ELF-64 (System V ABI, "Object Files"), only what is read.
constexpr std::uint16_t kMachineCuda = 190;
constexpr std::uint32_t kSymbolTable = 2;
constexpr std::uint32_t kNoBits = 8;
constexpr std::size_t kHeaderSize = 64;
constexpr std::size_t kSectionHeaderSize = 64;
constexpr std::size_t kSymbolSize = 24;
constexpr unsigned kFunction = 2;
// st_other of a __global__ function; device functions do not have it.
constexpr unsigned kEntry = 0x10;

// .nv.info is a list of records: format, attribute, 16 bits. Only of format 4 are the 16 bits the length of a
// payload that follows.
constexpr unsigned kSizedValue = 4;
constexpr unsigned kFrameSize = 0x11;      // payload: symbol index, bytes
constexpr unsigned kRegisterCount = 0x2f;  // payload: symbol index, registers

// From sm_90 on, .nv.shared.<kernel> starts with what the driver keeps for itself, and this section says so.
constexpr std::string_view kReservedSection = ".nv.shared.reserved.0";
constexpr int kReservedBytes = 1024;

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error("not a valid cubin: " + why); }

template <std::unsigned_integral Word>
Word read(Bytes bytes, std::uint64_t offset, const char* what) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(Word)) {
    fail(std::string(what) + " at byte " + std::to_string(offset) + " is past the end (" +
         std::to_string(bytes.size()) + " bytes)");
  }
  Word word;
  std::memcpy(&word, bytes.data() + offset, sizeof(Word));
  return word;
}

std::string_view read_string(Bytes table, std::uint64_t offset) {
  if (offset >= table.size()) fail("a name starts past the end of its string table");
  const auto* begin = reinterpret_cast<const char*>(table.data()) + offset;
  const auto* end = static_cast<const char*>(std::memchr(begin, 0, table.size() - offset));
  if (end == nullptr) fail("a name does not end");
  return {begin, end};
}

int to_int(std::uint64_t value, const char* what) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) {
    fail(std::string(what) + " of " + std::to_string(value));
  }
  return static_cast<int>(value);
}

struct Section {
  std::string_view name;
  std::uint32_t type = 0;
  std::uint32_t link = 0;
  std::uint64_t size = 0;
  Bytes data;  ///< empty for sections that take no room in the file
};

Section read_section(Bytes file, std::uint64_t header) {
  Section section;
  section.type = read<std::uint32_t>(file, header + 4, "a section header");
  section.link = read<std::uint32_t>(file, header + 40, "a section header");
  section.size = read<std::uint64_t>(file, header + 32, "a section header");
  const auto offset = read<std::uint64_t>(file, header + 24, "a section header");
  if (section.type != kNoBits && section.type != 0) {
    if (offset > file.size() || section.size > file.size() - offset) fail("a section reaches past the end");
    section.data = file.subspan(offset, section.size);
  }
  return section;
}

std::vector<Section> read_sections(Bytes file) {
  constexpr unsigned char kIdent[] = {0x7f, 'E', 'L', 'F', 2 /* 64 bits */, 1 /* little endian */};
  if (file.size() < kHeaderSize) fail("only " + std::to_string(file.size()) + " bytes");
  if (std::memcmp(file.data(), kIdent, sizeof kIdent) != 0) fail("no ELF-64 little-endian header");
  const auto machine = read<std::uint16_t>(file, 18, "the machine");
  if (machine != kMachineCuda) fail("machine " + std::to_string(machine) + ", expected 190 (CUDA)");
  const auto table = read<std::uint64_t>(file, 40, "the header");
  const auto entry_size = read<std::uint16_t>(file, 58, "the header");
  const auto count = read<std::uint16_t>(file, 60, "the header");
  const auto names = read<std::uint16_t>(file, 62, "the header");
  if (entry_size != kSectionHeaderSize)
    fail("section headers of " + std::to_string(entry_size) + " bytes, expected 64");
  if (table > file.size() || (file.size() - table) / kSectionHeaderSize < count)
    fail("section headers past the end");
  // The segments stand last. They are for the loader; that they are there says that the file is whole.
  const auto segments = read<std::uint64_t>(file, 32, "the header");
  const std::uint64_t segments_size = std::uint64_t{read<std::uint16_t>(file, 54, "the header")} *
                                      read<std::uint16_t>(file, 56, "the header");
  if (segments > file.size() || file.size() - segments < segments_size) fail("program headers past the end");
  if (names >= count) fail("no section of section names");

  std::vector<Section> sections;
  for (std::uint64_t i = 0; i < count; ++i)
    sections.push_back(read_section(file, table + i * kSectionHeaderSize));
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto name = read<std::uint32_t>(file, table + i * kSectionHeaderSize, "a section's name");
    sections[i].name = read_string(sections[names].data, name);
  }
  return sections;
}

const Section* find_section(const std::vector<Section>& sections, std::string_view name) {
  const auto found = std::ranges::find(sections, name, &Section::name);
  return found == sections.end() ? nullptr : &*found;
}

struct Entry {
  std::uint64_t symbol;  ///< index in the symbol table: how .nv.info names a kernel
  CubinKernel kernel;
};

std::vector<Entry> read_entries(const std::vector<Section>& sections) {
  const auto table = std::ranges::find(sections, kSymbolTable, &Section::type);
  if (table == sections.end()) fail("no symbol table");
  if (table->link >= sections.size()) fail("the symbol table has no names");
  if (table->data.size() % kSymbolSize != 0)
    fail("a symbol table of " + std::to_string(table->data.size()) + " bytes");
  std::vector<Entry> entries;
  for (std::uint64_t i = 0; i < table->data.size() / kSymbolSize; ++i) {
    const auto info = read<std::uint8_t>(table->data, i * kSymbolSize + 4, "a symbol");
    const auto other = read<std::uint8_t>(table->data, i * kSymbolSize + 5, "a symbol");
    if ((info & 0xfu) != kFunction || (other & kEntry) == 0) continue;
    const auto name = read<std::uint32_t>(table->data, i * kSymbolSize, "a symbol");
    Entry entry{.symbol = i, .kernel = {}};
    entry.kernel.name = read_string(sections[table->link].data, name);
    entries.push_back(entry);
  }
  return entries;
}

void read_info(Bytes info, std::vector<Entry>& entries) {
  std::uint64_t at = 0;
  while (at < info.size()) {
    const auto format = read<std::uint8_t>(info, at, "a .nv.info record");
    const auto attribute = read<std::uint8_t>(info, at + 1, "a .nv.info record");
    const std::uint64_t size =
        format == kSizedValue ? read<std::uint16_t>(info, at + 2, "a .nv.info record") : 0;
    at += 4;
    if (attribute == kFrameSize || attribute == kRegisterCount) {
      if (size != 8) fail("a .nv.info record of " + std::to_string(size) + " bytes, expected 8");
      const auto symbol = read<std::uint32_t>(info, at, "a .nv.info record");
      const auto value = read<std::uint32_t>(info, at + 4, "a .nv.info record");
      // Records of device functions that were not inlined name other symbols.
      const auto entry = std::ranges::find(entries, symbol, &Entry::symbol);
      if (entry != entries.end() && attribute == kFrameSize)
        entry->kernel.frame_bytes = to_int(value, "a frame");
      if (entry != entries.end() && attribute == kRegisterCount)
        entry->kernel.registers = to_int(value, "registers");
    }
    at += size;
  }
}

/// Of .text.<kernel>, and of the constants that the compiler made for it: .nv.constant<bank>.<kernel>, of which
/// bank 0 holds launch and parameters and is empty in the file.
std::uint64_t hash_code(const std::vector<Section>& sections, const std::string& kernel) {
  const Section* const text = find_section(sections, ".text." + kernel);
  if (text == nullptr || text->data.empty()) fail("kernel '" + kernel + "' has no code");
  std::uint64_t hash = XXH3_64bits(text->data.data(), text->data.size());
  for (const char bank : {'2', '3', '4'}) {
    const Section* const constants =
        find_section(sections, std::string(".nv.constant") + bank + "." + kernel);
    if (constants != nullptr)
      hash = XXH3_64bits_withSeed(constants->data.data(), constants->data.size(), hash);
  }
  return hash;
}

}  // namespace

std::vector<CubinKernel> read_cubin(std::span<const std::byte> bytes) {
  const std::vector<Section> sections = read_sections(bytes);
  std::vector<Entry> entries = read_entries(sections);
  const Section* info = find_section(sections, ".nv.info");
  if (info == nullptr) fail("no section .nv.info");
  read_info(info->data, entries);

  const int reserved = find_section(sections, kReservedSection) == nullptr ? 0 : kReservedBytes;
  std::vector<CubinKernel> kernels;
  for (Entry& entry : entries) {
    const Section* shared = find_section(sections, ".nv.shared." + entry.kernel.name);
    if (shared != nullptr) {
      const int bytes = to_int(shared->size, "shared memory");
      if (bytes < reserved)
        fail("shared memory of " + std::to_string(bytes) + " bytes, less than is reserved");
      entry.kernel.static_shared_bytes = bytes - reserved;
    }
    entry.kernel.code_hash = hash_code(sections, entry.kernel.name);
    if (entry.kernel.registers == 0) fail("kernel '" + entry.kernel.name + "' has no count of registers");
    kernels.push_back(std::move(entry.kernel));
  }
  std::ranges::sort(kernels, {}, &CubinKernel::name);
  return kernels;
}

}  // namespace m40llm::image
