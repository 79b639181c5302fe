#include "engine/ops/kv_append.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void kv_append(KvAppendParams);

namespace m40llm {
namespace {

constexpr Variant<KvAppendParams> kAppend[] = {
    {"element",
     {"kv_append", kv_append},
     [](const KvAppendParams& p) { return elementwise(p.n_rows * p.n_kv_heads * p.head_dim); },
     [](const KvAppendParams&, int) { return 1; }}};

}  // namespace

const Op<KvAppendParams> kKvAppend{"kv_append", "kv_append", kAppend, [](const KvAppendParams& p) {
                                     return Work{2.0 * p.n_rows * p.n_kv_heads * p.head_dim * 6.0, 0.0};
                                   }};

}  // namespace m40llm
