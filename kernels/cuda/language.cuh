#pragma once
// The language of kernels on CUDA, from sm_52 on. NVRTC gives threadIdx and its kin, __syncthreads and the
// vector types.

template <class T>
struct Same {
  using type = T;
};
#define SHARED(type_, name) __shared__ typename Same<type_>::type name
#define DYN_SHARED(type_, name)                                       \
  extern __shared__ __align__(16) unsigned char dynamic_shared_raw[]; \
  type_* const name = reinterpret_cast<type_*>(dynamic_shared_raw)

__device__ __forceinline__ unsigned float_to_bits(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float bits_to_float(unsigned bits) { return __uint_as_float(bits); }

/// The bits of 2^23 + byte i of a word: one instruction, where a shift, a mask and an or would be three.
__device__ __forceinline__ unsigned byte_in_mantissa(unsigned word, int i) {
  return __byte_perm(word, 0x4b000000u, 0x7440u | static_cast<unsigned>(i));
}

/// sum + a . b over the four signed bytes of each; it wraps around.
__device__ __forceinline__ int dot4(unsigned a, unsigned b, int sum) {
#if __CUDA_ARCH__ >= 610
  asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(a), "r"(b));
#else
  asm("vmad.s32.s32.s32 %0, %1.b0, %2.b0, %0;\n\t"
      "vmad.s32.s32.s32 %0, %1.b1, %2.b1, %0;\n\t"
      "vmad.s32.s32.s32 %0, %1.b2, %2.b2, %0;\n\t"
      "vmad.s32.s32.s32 %0, %1.b3, %2.b3, %0;"
      : "+r"(sum)
      : "r"(a), "r"(b));
#endif
  return sum;
}

// One PTX instruction each: on every target its rule is ours (PTX ISA, min and max: of a NaN and a number the
// number, and +0 > -0). In assembly, because the compiler may fold fminf of two zeros to either.
__device__ __forceinline__ float min_of(float a, float b) {
  float c;
  asm("min.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
}
__device__ __forceinline__ float max_of(float a, float b) {
  float c;
  asm("max.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
}

__device__ __forceinline__ float half_to_float(half h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
  return f;
}
__device__ __forceinline__ half float_to_half(float f) {
  half h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
  return h;
}
__device__ __forceinline__ float low_half_to_float(unsigned pair) {
  return half_to_float({static_cast<unsigned short>(pair)});
}
__device__ __forceinline__ float high_half_to_float(unsigned pair) {
  return half_to_float({static_cast<unsigned short>(pair >> 16)});
}

/// Reads through the read-only cache (the texture path of Maxwell): only what no thread writes during the
/// launch.
template <class T>
__device__ __forceinline__ T load_readonly(const T* p) {
  return __ldg(p);
}

/// Of what is read once: the first to leave the caches. As PTX for compute_52 on an H100 and an H200 weights come 8 to
/// 12 % faster so than by a plain load or through the read-only cache.
template <class T>
__device__ __forceinline__ T load_once(const T* p) {
  return __ldcs(p);
}

__device__ __forceinline__ float shuffle(unsigned mask, float v, unsigned source) {
  return __shfl_sync(mask, v, source);
}
__device__ __forceinline__ int shuffle(unsigned mask, int v, unsigned source) {
  return __shfl_sync(mask, v, source);
}
__device__ __forceinline__ float shuffle_xor(unsigned mask, float v, unsigned lanes) {
  return __shfl_xor_sync(mask, v, lanes);
}
__device__ __forceinline__ int shuffle_xor(unsigned mask, int v, unsigned lanes) {
  return __shfl_xor_sync(mask, v, lanes);
}
__device__ __forceinline__ unsigned ballot(unsigned mask, bool vote) { return __ballot_sync(mask, vote); }

/// Over a whole warp, in every lane: pairs 16, 8, 4, 2, 1 lanes apart.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (unsigned offset = 16; offset != 0; offset /= 2) v += shuffle_xor(0xffffffffu, v, offset);
  return v;
}
/// Of several values, over each `lanes` adjacent lanes (a power of two): pairs lanes / 2, ..., 2, 1 lanes apart.
template <int kSums>
__device__ __forceinline__ void warp_sums(float (&v)[kSums], unsigned lanes) {
  for (unsigned offset = lanes / 2; offset != 0; offset /= 2) {
#pragma unroll
    for (int i = 0; i < kSums; ++i) v[i] += shuffle_xor(0xffffffffu, v[i], offset);
  }
}
/// Of several values: what warp_sum gives for each.
template <int kSums>
__device__ __forceinline__ void warp_sums(float (&v)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) v[i] = warp_sum(v[i]);
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (unsigned offset = 16; offset != 0; offset /= 2) {
    const float other = shuffle_xor(0xffffffffu, v, offset);
    v = v > other ? v : other;
  }
  return v;
}

__device__ __forceinline__ unsigned atomic_add(unsigned* p, unsigned v) { return atomicAdd(p, v); }

/// What earlier kernels wrote can be read behind it, and what they read be written. A kernel that calls it, in every
/// thread, may be launched while they still run (LaunchConfig::overlaps), and lets the next one begin.
__device__ __forceinline__ void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}

// Signals between blocks, and (..._system) between a block and the host, in pinned memory. Before sm_70 there is no release or acquire: a fence on the right side of a volatile access is
// what the compiler makes of them there too.
#if __CUDA_ARCH__ >= 700
__device__ __forceinline__ unsigned load_relaxed_system(const unsigned* p) {
  unsigned v;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ void store_release_system(unsigned* p, unsigned v) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ void store_release_system(unsigned long long* p, unsigned long long v) {
  asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
__device__ __forceinline__ unsigned look_system(const unsigned* p) {
  unsigned v;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ void seen_system() {}
__device__ __forceinline__ void store_relaxed(unsigned* p, unsigned v) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ void store_release(unsigned* p, unsigned v) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ unsigned load_acquire(const unsigned* p) {
  unsigned v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ void atomic_add_release(unsigned* p, unsigned v) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ unsigned load_relaxed(const unsigned* p) {
  unsigned v;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
/// A look at a flag, and what makes the last one an acquire.
__device__ __forceinline__ unsigned look(const unsigned* p) { return load_acquire(p); }
__device__ __forceinline__ void seen() {}
__device__ __forceinline__ unsigned atomic_add_acq_rel(unsigned* p, unsigned v) {
  unsigned old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(v) : "memory");
  return old;
}
#else
__device__ __forceinline__ unsigned load_relaxed_system(const unsigned* p) {
  unsigned v;
  asm volatile("ld.volatile.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ void store_release_system(unsigned* p, unsigned v) {
  __threadfence_system();
  asm volatile("st.volatile.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ void store_release_system(unsigned long long* p, unsigned long long v) {
  __threadfence_system();
  asm volatile("st.volatile.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
__device__ __forceinline__ unsigned look_system(const unsigned* p) { return load_relaxed_system(p); }
__device__ __forceinline__ void seen_system() { __threadfence_system(); }
__device__ __forceinline__ void store_relaxed(unsigned* p, unsigned v) {
  asm volatile("st.volatile.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ void store_release(unsigned* p, unsigned v) {
  __threadfence();
  store_relaxed(p, v);
}
__device__ __forceinline__ unsigned load_relaxed(const unsigned* p) {
  unsigned v;
  asm volatile("ld.volatile.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ unsigned look(const unsigned* p) { return load_relaxed(p); }
__device__ __forceinline__ void seen() { __threadfence(); }
__device__ __forceinline__ unsigned load_acquire(const unsigned* p) {
  const unsigned v = look(p);
  seen();
  return v;
}
__device__ __forceinline__ void atomic_add_release(unsigned* p, unsigned v) {
  __threadfence();
  atomicAdd(p, v);
}
__device__ __forceinline__ unsigned atomic_add_acq_rel(unsigned* p, unsigned v) {
  __threadfence();
  const unsigned old = atomicAdd(p, v);
  __threadfence();
  return old;
}
#endif
/// Waits until done(*flag), read with acquire.
template <class Done>
__device__ __forceinline__ void spin_until(const unsigned* flag, Done done) {
  while (!done(look(flag))) {
  }
  seen();
}
/// As spin_until, but gives up, with false, when so many looks were in vain. The SIMT device does so only in a launch that
/// the host feeds: in others it sees by itself when nobody is left who could end the wait, and reports that.
template <class Done>
__device__ __forceinline__ bool spin_at_most(unsigned looks, const unsigned* flag, Done done) {
  while (!done(look(flag))) {
    if (--looks == 0) return false;
  }
  seen();
  return true;
}
/// As spin_until, of a word that the host writes.
template <class Done>
__device__ __forceinline__ void spin_until_system(const unsigned* flag, Done done) {
  while (!done(look_system(flag))) {
  }
  seen_system();
}
