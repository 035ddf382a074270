import numpy as np

import strobe

q = np.full((32, 128), 0.5, np.float32)  # one new token, 32 query heads
k = v = np.full((1000, 8, 128), 0.5, np.float32)  # a cache of 1000 tokens, 8 KV heads
out, lse = strobe.single_decode_with_kv_cache(q, k, v, return_lse=True)
print(out[0, 0])  # every row of v is 0.5, and so is their mean

decode = strobe.BatchDecodeWithPagedKVCacheWrapper(np.empty(0, np.uint8))
cache = np.ones((64, 2, 16, 8, 128), np.float32)  # 64 pages of 16 tokens, keys and values
indptr, pages, last = np.int32([0, 2, 3]), np.int32([7, 1, 5]), np.int32([4, 16])  # requests of 20 and 16 tokens
decode.plan(indptr, pages, last, 32, 8, 128, page_size=16, q_data_type="float32")
print(decode.run(np.stack([q, q]), cache).mean())
