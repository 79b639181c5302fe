#!/usr/bin/env python3
"""llama.cpp's logits of a tiny model of the tests, one line a token: its weights dequantised to F32, no vocabulary.

usage: oracle_tiny.py MODEL.gguf MODEL.f32.gguf > tests/data/tiny_NAME.txt    (in the environment of oracle.py)
M40LLM_KEEP_MODELS=FOLDER m40llm_model_tests --gtest_filter='*TinyOracle*' writes the models.
"""
import ctypes
import sys

try:
    import gguf
    import llama_cpp
    import numpy as np
except ImportError as error:
    sys.exit(f"oracle_tiny.py: error: {error}: the head of oracle.py says how its environment is made")

src,dst=sys.argv[1:3]
r=gguf.GGUFReader(src)
arch=bytes(r.fields['general.architecture'].parts[-1]).decode()
w=gguf.GGUFWriter(dst,arch)
for k,f in r.fields.items():
    if k.startswith('GGUF.') or k=='general.architecture' or k.startswith('tokenizer'): continue
    v=f.contents()
    t=f.types[0]
    if t==gguf.GGUFValueType.UINT32: w.add_uint32(k,v)
    elif t==gguf.GGUFValueType.FLOAT32: w.add_float32(k,v)
w.add_string('tokenizer.ggml.model','no_vocab'); 
for t in r.tensors:
    a=gguf.quants.dequantize(t.data,t.tensor_type) if t.tensor_type!=0 else t.data
    w.add_tensor(t.name,np.ascontiguousarray(a.astype(np.float32)))
    if t.name=='token_embd.weight': w.add_uint32(arch+'.vocab_size',a.shape[0]); nv=a.shape[0]
w.write_header_to_file();w.write_kv_data_to_file();w.write_tensors_to_file();w.close()
mp=llama_cpp.llama_model_default_params(); mp.use_mmap=False
m=llama_cpp.llama_model_load_from_file(dst.encode(),mp)
cp=llama_cpp.llama_context_default_params(); cp.n_ctx=64; cp.n_threads=1; cp.n_threads_batch=1; cp.type_k=0; cp.type_v=0
cp.flash_attn_type=0
c=llama_cpp.llama_init_from_model(m,cp)
for i,t in enumerate([3,1,4,15,9,26,5,35]):
    arr=(ctypes.c_int32*1)(t)
    b=llama_cpp.llama_batch_get_one(arr,1)
    assert llama_cpp.llama_decode(c,b)==0
    l=np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(c,-1),shape=(nv,))
    print(' '.join('%.9g'%x for x in l))
