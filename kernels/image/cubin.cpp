#include "kernels/image/cubin.hpp"

#define XXH_INLINE_ALL
#include <gelf.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace m40llm::image {
namespace {

using Bytes = std::span<const std::byte>;

// st_other of a __global__ function; device functions do not have it.
constexpr unsigned kEntry = 0x10;

// .nv.info is a list of records. Only of format 4 is `size` the length of a payload that follows.
struct InfoRecord {
  std::uint8_t format;
  std::uint8_t attribute;
  std::uint16_t size;
};
constexpr unsigned kSizedValue = 4;
constexpr unsigned kFrameSize = 0x11;      // payload: symbol index, bytes
constexpr unsigned kRegisterCount = 0x2f;  // payload: symbol index, registers

// From sm_90 on, .nv.shared.<kernel> starts with what the driver keeps for itself, and this section says so.
constexpr std::string_view kReservedSection = ".nv.shared.reserved.0";
constexpr int kReservedBytes = 1024;

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error("not a valid cubin: " + why); }

/// What libelf returned, or its error.
template <class T>
T* expect(T* result, const std::string& what) {
  if (result == nullptr) fail(what + ": " + elf_errmsg(-1));
  return result;
}

int to_int(std::uint64_t value, const char* what) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) {
    fail(std::string(what) + " of " + std::to_string(value));
  }
  return static_cast<int>(value);
}

struct EndElf {
  void operator()(Elf* elf) const { elf_end(elf); }
};
using ElfFile = std::unique_ptr<Elf, EndElf>;

ElfFile open_cubin(Bytes bytes) {
  elf_version(EV_CURRENT);
  // libelf writes to an image only when it is told to.
  auto* const image = const_cast<char*>(reinterpret_cast<const char*>(bytes.data()));
  ElfFile elf(expect(elf_memory(image, bytes.size()), std::to_string(bytes.size()) + " bytes"));
  GElf_Ehdr header;
  if (gelf_getehdr(elf.get(), &header) == nullptr || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB)
    fail("no ELF-64 little-endian header");
  if (header.e_machine != EM_CUDA)
    fail("machine " + std::to_string(header.e_machine) + ", expected 190 (CUDA)");
  // The segments stand last. They are for the loader; that they are there says that the file is whole.
  expect(elf64_getphdr(elf.get()), "program headers");
  return elf;
}

/// Whether its instructions are Maxwell's or Pascal's, which main_loop() reads: the low byte of the flags is the NN of sm_NN.
bool has_bundles(Elf* elf) {
  GElf_Ehdr header;
  expect(gelf_getehdr(elf, &header), "header");
  const unsigned arch = header.e_flags & 0xff;
  return arch >= 50 && arch <= 62;
}

struct Section {
  std::string_view name;
  GElf_Shdr header;
  Elf_Data* data;

  /// Empty if it takes no room in the file.
  Bytes bytes() const {
    return {static_cast<const std::byte*>(data->d_buf), data->d_buf == nullptr ? 0 : data->d_size};
  }
};

std::vector<Section> read_sections(Elf* elf) {
  std::size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) fail(std::string("section names: ") + elf_errmsg(-1));
  std::vector<Section> sections;
  for (Elf_Scn* at = nullptr; (at = elf_nextscn(elf, at)) != nullptr;) {
    const std::string who = "section " + std::to_string(elf_ndxscn(at));
    GElf_Shdr header;
    expect(gelf_getshdr(at, &header), who);
    const char* const name = expect(elf_strptr(elf, names, header.sh_name), who + "'s name");
    sections.push_back({name, header, expect(elf_getdata(at, nullptr), who + " ('" + name + "')")});
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

std::vector<Entry> read_entries(Elf* elf, const std::vector<Section>& sections) {
  const auto table = std::ranges::find(sections, Elf64_Word{SHT_SYMTAB},
                                       [](const Section& section) { return section.header.sh_type; });
  if (table == sections.end()) fail("no symbol table");
  std::vector<Entry> entries;
  GElf_Sym symbol;
  for (int i = 0; gelf_getsym(table->data, i, &symbol) != nullptr; ++i) {
    if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || (symbol.st_other & kEntry) == 0) continue;
    Entry entry{.symbol = static_cast<std::uint64_t>(i), .kernel = {}};
    entry.kernel.name = expect(elf_strptr(elf, table->header.sh_link, symbol.st_name), "a kernel's name");
    entries.push_back(entry);
  }
  return entries;
}

/// Takes a value off the front of .nv.info.
template <class Value>
Value take(Bytes& info) {
  Value value;
  if (info.size() < sizeof value) fail(".nv.info ends within a record");
  std::memcpy(&value, info.data(), sizeof value);
  info = info.subspan(sizeof value);
  return value;
}

void read_info(Bytes info, std::vector<Entry>& entries) {
  while (!info.empty()) {
    const auto record = take<InfoRecord>(info);
    const std::size_t size = record.format == kSizedValue ? record.size : 0;
    if (info.size() < size) fail(".nv.info ends within a record");
    Bytes payload = info.first(size);
    info = info.subspan(size);
    if (record.attribute != kFrameSize && record.attribute != kRegisterCount) continue;
    if (size != 8) fail("a .nv.info record of " + std::to_string(size) + " bytes, expected 8");
    const auto symbol = take<std::uint32_t>(payload);
    const auto value = take<std::uint32_t>(payload);
    // Records of device functions that were not inlined name other symbols.
    const auto entry = std::ranges::find(entries, symbol, &Entry::symbol);
    if (entry == entries.end()) continue;
    if (record.attribute == kFrameSize) entry->kernel.frame_bytes = to_int(value, "a frame");
    if (record.attribute == kRegisterCount) entry->kernel.registers = to_int(value, "registers");
  }
}

/// .text.<kernel>
Bytes code_of(const std::vector<Section>& sections, const std::string& kernel) {
  const Section* const text = find_section(sections, ".text." + kernel);
  if (text == nullptr || text->bytes().empty()) fail("kernel '" + kernel + "' has no code");
  return text->bytes();
}

/// Of its code, and of the constants that the compiler made for it: .nv.constant<bank>.<kernel>, of which
/// bank 0 holds launch and parameters and is empty in the file.
std::uint64_t hash_code(const std::vector<Section>& sections, const std::string& kernel) {
  const Bytes code = code_of(sections, kernel);
  std::uint64_t hash = XXH3_64bits(code.data(), code.size());
  for (const char bank : {'2', '3', '4'}) {
    const Section* const constants =
        find_section(sections, std::string(".nv.constant") + bank + "." + kernel);
    if (constants != nullptr)
      hash = XXH3_64bits_withSeed(constants->bytes().data(), constants->bytes().size(), hash);
  }
  return hash;
}

}  // namespace

std::vector<CubinKernel> read_cubin(std::span<const std::byte> bytes) {
  const ElfFile elf = open_cubin(bytes);
  const std::vector<Section> sections = read_sections(elf.get());
  std::vector<Entry> entries = read_entries(elf.get(), sections);
  const Section* info = find_section(sections, ".nv.info");
  if (info == nullptr) fail("no section .nv.info");
  read_info(info->bytes(), entries);

  const int reserved = find_section(sections, kReservedSection) == nullptr ? 0 : kReservedBytes;
  std::vector<CubinKernel> kernels;
  for (Entry& entry : entries) {
    const Section* shared = find_section(sections, ".nv.shared." + entry.kernel.name);
    if (shared != nullptr) {
      const int bytes = to_int(shared->header.sh_size, "shared memory");
      if (bytes < reserved)
        fail("shared memory of " + std::to_string(bytes) + " bytes, less than is reserved");
      entry.kernel.static_shared_bytes = bytes - reserved;
    }
    if (has_bundles(elf.get())) entry.kernel.loop = main_loop(code_of(sections, entry.kernel.name));
    entry.kernel.code_hash = hash_code(sections, entry.kernel.name);
    if (entry.kernel.registers == 0) fail("kernel '" + entry.kernel.name + "' has no count of registers");
    kernels.push_back(std::move(entry.kernel));
  }
  std::ranges::sort(kernels, {}, &CubinKernel::name);
  return kernels;
}

}  // namespace m40llm::image
