#pragma once

/// Shared memory for a row of x as 8-bit integers (int8.cuh): a block of 32 values takes 8 bytes of scale, 32 of values and
/// 4 of gap at most; so much for each and so much beside is enough.
constexpr int kInt8BlockBytes = 48;
constexpr int kInt8BytesBeside = 32;

/// Threads of a block of products of integers, one on each SM: what it takes to make x integers is as much as the
/// products of a few rows, and is done once.
constexpr int kInt8Threads = 512;
