"""The public names of FlashInfer 0.6.18 by submodule. Those that Strobe has are Strobe's; calling one of the others
raises strobe.Unsupported."""

VERSION = "0.6.18"

# Submodule -> names. A name that begins with a capital letter is a class.
NAMES = {
    "activation": "gelu_and_mul gelu_tanh_and_mul silu_and_mul silu_and_mul_scaled_nvfp4_experts_quantize",
    "attention": "BatchAttention BatchAttentionWithAttentionSinkWrapper",
    "cascade": """BatchDecodeWithSharedPrefixPagedKVCacheWrapper BatchPrefillWithSharedPrefixPagedKVCacheWrapper
        MultiLevelCascadeAttentionWrapper merge_state merge_state_in_place merge_states""",
    "autotuner": "autotune AutoTuner TunableRunner TuningConfig",
    "comm": """MNNVLAllReduceFusionWorkspace MixedCommHandler MoeAlltoAll PcieIpcAllReduceWorkspace
        TRTLLMAllReduceFusionWorkspace UlyssesCommunicator allreduce_fusion create_allreduce_fusion_workspace
        decode_cp_a2a_allocate_mnnvl_workspace decode_cp_a2a_alltoall decode_cp_a2a_init_workspace
        decode_cp_a2a_workspace_size moe_a2a_combine moe_a2a_dispatch moe_a2a_get_workspace_size_per_rank
        moe_a2a_initialize moe_a2a_sanitize_expert_ids moe_a2a_wrap_payload_tensor_in_workspace quantized_all_reduce
        run_mixed_comm trtllm_allreduce_fusion trtllm_create_ipc_workspace_for_all_reduce_fusion
        trtllm_destroy_ipc_workspace_for_all_reduce_fusion""",
    "concat_ops": "concat_mla_k",
    "decode": """BatchDecodeMlaWithPagedKVCacheWrapper BatchDecodeWithPagedKVCacheWrapper
        CUDAGraphBatchDecodeWithPagedKVCacheWrapper cudnn_batch_decode_with_kv_cache fast_decode_plan
        single_decode_with_kv_cache single_decode_with_kv_cache_with_jit_module trtllm_batch_decode_with_kv_cache
        trtllm_batch_decode_with_kv_cache_mla xqa_batch_decode_with_kv_cache""",
    "fused_moe": """alloc_scratchpad bgmv_moe bgmv_moe_expand bgmv_moe_shrink cutlass_fused_moe fused_topk_deepseek hash_topk mono_moe reorder_rows_for_gated_act_gemm
        trtllm_bf16_moe trtllm_bf16_routed_moe trtllm_fp4_block_scale_moe trtllm_fp4_block_scale_routed_moe
        trtllm_fp8_block_scale_moe trtllm_fp8_block_scale_routed_moe trtllm_fp8_per_tensor_scale_moe""",
    "gdn_decode": "gated_delta_rule_decode gated_delta_rule_decode_pretranspose gated_delta_rule_mtp",
    "gdn_prefill": "chunk_gated_delta_rule",
    "gemm": """SegmentGEMMWrapper bmm_bf16 bmm_fp8 bmm_mxfp8 fp8_blockscale_gemm_sm90 gemm_fp8_nt_blockscaled
        gemm_fp8_nt_groupwise group_gemm_fp8_nt_groupwise mm_bf16 mm_bf16_fp4 mm_fp4 mm_fp8 mm_mxfp8
        prepare_bf16_fp4_weights prepare_low_latency_gemm_weights svdquant_linear tgv_gemm_sm100 tinygemm_bf16""",
    "green_ctx": "split_device_green_ctx split_device_green_ctx_by_sm_count",
    "grouped_mm": "grouped_mm_bf16 grouped_mm_fp8",
    "mamba": "checkpointing_ssu selective_state_update",
    "mhc": "mhc_post mhc_pre_big_fuse mhc_pre_big_fuse_with_prenorm",
    "mla": "BatchMLAPagedAttentionWrapper",
    "norm": """add_rmsnorm_fp4quant fused_dit_gate_residual_layernorm_gamma_beta
        fused_dit_gate_residual_layernorm_scale_shift fused_dit_residual_layernorm_scale_shift fused_add_rmsnorm fused_add_rmsnorm_quant fused_qk_rmsnorm_rope fused_rmsnorm_silu
        gemma_fused_add_rmsnorm gemma_rmsnorm layernorm layernorm_quant rmsnorm rmsnorm_fp4quant rmsnorm_quant""",
    "page": """append_paged_kv_cache append_paged_mla_kv_cache get_batch_indices_positions get_seq_lens
        nvfp4_quantize_append_paged_kv_cache nvfp4_quantize_append_paged_kv_cache_with_slot_mapping""",
    "pod": "BatchPODWithPagedKVCacheWrapper PODWithPagedKVCacheWrapper",
    "prefill": """BatchPrefillWithPagedKVCacheWrapper BatchPrefillWithRaggedKVCacheWrapper
        single_prefill_with_kv_cache single_prefill_with_kv_cache_return_lse
        single_prefill_with_kv_cache_with_jit_module trtllm_batch_context_with_kv_cache trtllm_fmha_v2_prefill
        trtllm_ragged_attention_deepseek trtllm_sage_attention_quantize""",
    "quantization": """block_scale_interleave e2m1_and_ufp8sf_scale_to_float fp4_quantize mxfp4_dequantize
        mxfp4_dequantize_host mxfp4_quantize mxfp8_dequantize_host mxfp8_grouped_quantize mxfp8_quantize
        nvfp4_batched_quantize nvfp4_block_scale_interleave nvfp4_kv_dequantize nvfp4_kv_dequantize_paged
        nvfp4_kv_quantize nvfp4_quantize nvfp4_quantize_paged_kv_cache packbits per_token_group_quant_8bit scaled_fp4_grouped_quantize
        segment_packbits shuffle_matrix_a shuffle_matrix_sf_a silu_and_mul_nvfp4_quantize""",
    "rope": """apply_llama31_rope apply_llama31_rope_inplace apply_llama31_rope_pos_ids
        apply_llama31_rope_pos_ids_inplace apply_rope apply_rope_inplace apply_rope_pos_ids apply_rope_pos_ids_inplace
        apply_rope_with_cos_sin_cache apply_rope_with_cos_sin_cache_inplace mla_rope_quantize_fp8 rope_quantize_fp8
        rope_quantize_fp8_append_paged_kv_cache""",
    "sampling": """chain_speculative_sampling min_p_sampling_from_probs sampling_from_logits sampling_from_probs softmax
        top_k_mask_logits top_k_renorm_prob top_k_renorm_probs top_k_sampling_from_probs
        top_k_top_p_sampling_from_logits top_k_top_p_sampling_from_probs top_p_renorm_prob top_p_renorm_probs
        top_p_sampling_from_probs""",
    "sparse": "BlockSparseAttentionWrapper VariableBlockSparseAttentionWrapper",
    "topk": "TopKTieBreak top_k top_k_page_table_transform top_k_ragged_transform",
    "topk_varlen": "top_k_varlen",
    "xqa": "xqa xqa_mla",
}

# FlashInfer has the generators of its modules beside the functions that they compile; all are strobe.jit's.
GENERATORS = {
    "activation": "gen_act_and_mul_module",
    "attention": "gen_batch_attention_module",
    "cascade": "gen_cascade_module",
    "decode": "gen_batch_decode_module gen_single_decode_module",
    "norm": "gen_norm_module",
    "page": "gen_page_module",
    "prefill": "gen_batch_prefill_module gen_single_prefill_module",
    "quantization": "gen_quantization_module",
    "rope": "gen_rope_module",
    "sampling": "gen_sampling_module",
}
