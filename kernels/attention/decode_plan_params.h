// What the kernel that plans a decode batch takes.
#pragma once

#include "attention/decode_plan.h"

namespace strobe::kernel {

struct DecodePlanParams {
  // [requests + 1]; kv_indptr: paged: ranges of kv_indices, else of KV rows.
  const int32_t *qo_indptr, *kv_indptr;
  const int32_t *last_page_len, *kv_len;  // [requests]; paged: one of them
  int32_t requests, page_size;            // page_size 0: not paged
  int32_t query_tokens, qo_len;           // the most: of all requests, of one
  int32_t kv_entries;                     // entries of kv_indices; not paged: the most KV rows
  DecodeListOptions options;

  AttentionRequest* request_list;  // [requests]
  DecodePlanScratch scratch;
  DecodeList list;
  AttentionCounts* counts;
};

// The first request of a plan that cannot be served as it is.
struct IndexFault {
  enum : int32_t { kNone, kContradiction, kPage };
  int32_t kind;
  int32_t request;
  int32_t entry, page;  // kPage: which of the request's pages, and its number
};

struct DecodeCheckParams {
  DecodePlanParams plan;  // of which the lists are not looked at
  const int32_t* kv_indices;
  int32_t num_pages;
  IndexFault* fault;
};

}  // namespace strobe::kernel
