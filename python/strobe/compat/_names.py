"""The public names of FlashInfer 0.6.18 by submodule. Those that Strobe has are Strobe's; calling one of the others
raises strobe.Unsupported."""

VERSION = "0.6.18"

# Submodule -> names. A name that begins with a capital letter is a class.
NAMES = {
    "activation": "gelu_and_mul gelu_tanh_and_mul silu_and_mul silu_and_mul_scaled_nvfp4_experts_quantize",
    "attention": "BatchAttention BatchAttentionWithAttentionSinkWrapper",
    "autotuner": "AutoTuner TunableRunner TuningConfig autotune",
    "cascade": """BatchDecodeWithSharedPrefixPagedKVCacheWrapper
        BatchPrefillWithSharedPrefixPagedKVCacheWrapper MultiLevelCascadeAttentionWrapper merge_state
        merge_state_in_place merge_states""",
    "comm": """MNNVLAllReduceFusionWorkspace MixedCommHandler MoeAlltoAll PcieIpcAllReduceWorkspace
        TRTLLMAllReduceFusionWorkspace UlyssesCommunicator allreduce_fusion create_allreduce_fusion_workspace
        decode_cp_a2a_allocate_mnnvl_workspace decode_cp_a2a_alltoall decode_cp_a2a_init_workspace
        decode_cp_a2a_workspace_size dispose_ulysses_a2a init_ulysses_a2a moe_a2a_combine moe_a2a_dispatch
        moe_a2a_get_workspace_size_per_rank moe_a2a_initialize moe_a2a_sanitize_expert_ids
        moe_a2a_wrap_payload_tensor_in_workspace quantized_all_reduce run_mixed_comm trtllm_allreduce_fusion
        trtllm_create_ipc_workspace_for_all_reduce_fusion trtllm_destroy_ipc_workspace_for_all_reduce_fusion
        ulysses_a2a""",
    "concat_ops": "concat_mla_k",
    "cudnn": "cudnn_batch_decode_with_kv_cache cudnn_batch_prefill_with_kv_cache",
    "cute_dsl": "add_rmsnorm_fp4quant grouped_gemm_nt_masked rmsnorm_fp4quant",
    "decode": """BatchDecodeMlaWithPagedKVCacheWrapper BatchDecodeWithPagedKVCacheWrapper
        CUDAGraphBatchDecodeWithPagedKVCacheWrapper cudnn_batch_decode_with_kv_cache fast_decode_plan
        single_decode_with_kv_cache single_decode_with_kv_cache_with_jit_module
        trtllm_batch_decode_with_kv_cache trtllm_batch_decode_with_kv_cache_mla xqa_batch_decode_with_kv_cache""",
    "fi_trace": "fi_trace",
    "fused_moe": """B12xMoEWrapper CuteDslMoEWrapper CuteDslMxfp8Mxfp4MoEWrapper alloc_scratchpad
        b12x_fused_moe bgmv_moe bgmv_moe_expand bgmv_moe_gemm1_lora_delta bgmv_moe_gemm2_lora_delta
        bgmv_moe_shrink cute_dsl_fused_moe_mxfp8_mxfp4 cute_dsl_fused_moe_nvfp4 cutlass_fused_moe
        fused_topk_deepseek get_scratchpad_size_bytes has_monomoe hash_topk interleave_for_tma_wgmma_up
        interleave_moe_scales_for_sm90_mixed_gemm interleave_moe_weights_for_sm90_mixed_gemm mono_moe
        preprocess_moe_weights_for_sm90_mixed_gemm_humming reorder_rows_for_gated_act_gemm trtllm_bf16_moe
        trtllm_bf16_routed_moe trtllm_fp4_block_scale_moe trtllm_fp4_block_scale_routed_moe
        trtllm_fp8_block_scale_moe trtllm_fp8_block_scale_routed_moe trtllm_fp8_per_tensor_scale_moe
        trtllm_fp8_per_tensor_scale_routed_moe trtllm_mxint4_block_scale_moe
        trtllm_mxint4_block_scale_routed_moe""",
    "gdn_decode": "gated_delta_rule_decode gated_delta_rule_decode_pretranspose gated_delta_rule_mtp",
    "gdn_kernels": "gated_delta_rule_mtp",
    "gdn_prefill": "chunk_gated_delta_rule",
    "gemm": """SegmentGEMMWrapper batch_deepgemm_fp8_nt_groupwise bmm_bf16 bmm_fp8 bmm_mxfp8
        fp8_blockscale_gemm_sm90 gemm_fp8_nt_blockscaled gemm_fp8_nt_groupwise group_deepgemm_fp8_nt_groupwise
        group_gemm_fp8_nt_groupwise group_gemm_mxfp8_mxfp4_nt_groupwise group_gemm_nvfp4_nt_groupwise
        grouped_gemm_nt_masked mm_M1_16_K6144_N256 mm_M1_16_K7168_N128 mm_M1_16_K7168_N256 mm_bf16 mm_bf16_fp4
        mm_fp4 mm_fp8 mm_mxfp8 mm_nvfp4_svdquant nvfp4_quantize_smooth prepare_bf16_fp4_weights
        prepare_low_latency_gemm_weights svdquant_linear tgv_gemm_sm100 tinygemm_bf16""",
    "green_ctx": "split_device_green_ctx split_device_green_ctx_by_sm_count",
    "grouped_mm": """grouped_mm_bf16 grouped_mm_fp4 grouped_mm_fp8 grouped_mm_mxfp8 moe_gemm_fp8_nt_groupwise
        moe_gemm_mxfp8_nt_groupwise""",
    "jit": """JitSpecCuteDsl JitSpecNvcc JitSpecRegistry JitSpecStatus get_act_and_mul_cu_str
        get_batch_attention_uri get_batch_decode_mla_uri get_batch_decode_uri get_batch_mla_uri
        get_batch_prefill_uri get_flash_kda_prefill_module get_pod_uri get_single_decode_uri
        get_single_prefill_uri load_bgmv_moe_module load_flash_kda_m128_module load_flash_kda_m128_n16_module
        load_flash_kda_m64_module load_monomoe_module setup_cubin_loader""",
    "kda": "recurrent_kda",
    "kda_decode": "fused_kda_decode packed_kda_decode recurrent_kda",
    "kda_prefill": "RecurrentKDAPrefillWorkspace",
    "logits_processor": """CompileError Compiler FusionRule LegalizationError LogitsPipe LogitsProcessor MinP
        Op ParameterizedOp Sample Softmax TaggedTensor Temperature TensorType TopK TopP compile_pipeline
        legalize_processors""",
    "mamba": "checkpointing_ssu selective_state_update",
    "mhc": "mhc_post mhc_pre_big_fuse mhc_pre_big_fuse_with_prenorm",
    "mla": "BatchMLAPagedAttentionWrapper",
    "msa_ops": """msa_proxy_score msa_proxy_score_fp4 msa_sparse_attention msa_sparse_decode_attention
        msa_topk_select""",
    "norm": """add_rmsnorm_fp4quant fused_add_rmsnorm fused_add_rmsnorm_quant
        fused_dit_gate_residual_layernorm_gamma_beta fused_dit_gate_residual_layernorm_scale_shift
        fused_dit_residual_layernorm_scale_shift fused_qk_rmsnorm_rope fused_rmsnorm_silu
        gemma_fused_add_rmsnorm gemma_rmsnorm layernorm layernorm_quant rmsnorm rmsnorm_fp4quant rmsnorm_quant""",
    "nvfp4_attention_sm120": "nvfp4_attention_sm120_fwd nvfp4_attention_sm120_quantize_qkv",
    "page": """append_paged_kv_cache append_paged_mla_kv_cache get_batch_indices_positions get_seq_lens
        nvfp4_quantize_append_paged_kv_cache nvfp4_quantize_append_paged_kv_cache_with_slot_mapping""",
    "pod": "BatchPODWithPagedKVCacheWrapper PODWithPagedKVCacheWrapper",
    "prefill": """BatchPrefillWithPagedKVCacheWrapper BatchPrefillWithRaggedKVCacheWrapper
        fmha_v2_prefill_deepseek fmha_v2_prefill_sm120 single_prefill_with_kv_cache
        single_prefill_with_kv_cache_return_lse single_prefill_with_kv_cache_with_jit_module
        trtllm_batch_context_with_kv_cache trtllm_fmha_v2_prefill trtllm_ragged_attention_deepseek
        trtllm_sage_attention_quantize""",
    "quantization": """block_scale_interleave e2m1_and_ufp8sf_scale_to_float fp4_quantize
        get_fp4_quantization_module mxfp4_dequantize mxfp4_dequantize_host mxfp4_quantize
        mxfp4_quantize_cute_dsl mxfp8_dequantize_host mxfp8_grouped_quantize mxfp8_quantize
        mxfp8_quantize_cute_dsl nvfp4_batched_quantize nvfp4_block_scale_interleave nvfp4_kv_dequantize
        nvfp4_kv_dequantize_paged nvfp4_kv_quantize nvfp4_quantize nvfp4_quantize_cute_dsl
        nvfp4_quantize_paged_kv_cache nvfp4_quantize_per_token_cute_dsl packbits per_token_group_quant_8bit
        scaled_fp4_grouped_quantize segment_packbits shuffle_matrix_a shuffle_matrix_sf_a
        silu_and_mul_nvfp4_quantize""",
    "rope": """apply_llama31_rope apply_llama31_rope_inplace apply_llama31_rope_pos_ids
        apply_llama31_rope_pos_ids_inplace apply_rope apply_rope_inplace apply_rope_pos_ids
        apply_rope_pos_ids_inplace apply_rope_with_cos_sin_cache apply_rope_with_cos_sin_cache_inplace
        mla_rope_quantize_fp8 rope_quantize_fp8 rope_quantize_fp8_append_paged_kv_cache""",
    "sampling": """chain_speculative_sampling min_p_sampling_from_probs sampling_from_logits
        sampling_from_probs softmax top_k_mask_logits top_k_renorm_prob top_k_renorm_probs
        top_k_sampling_from_probs top_k_top_p_sampling_from_logits top_k_top_p_sampling_from_probs
        top_p_renorm_prob top_p_renorm_probs top_p_sampling_from_probs""",
    "sparse": "BlockSparseAttentionWrapper VariableBlockSparseAttentionWrapper",
    "tllm_enums": "ActivationType RoutingMethodType SfLayout is_gated_activation",
    "topk": "TopKTieBreak top_k top_k_page_table_transform top_k_ragged_transform",
    "topk_varlen": "top_k_varlen",
    "trtllm_low_latency_gemm": "prepare_low_latency_gemm_weights",
    "utils": """FP4Tensor LogLevel backend_requirement calculate_tile_tokens_dim
        check_trtllm_gen_sm107_only_feature determine_gemm_backend determine_mla_backend
        get_cuda_python_version get_default_generators get_globaltimer_kernel get_gpu_memory_bandwidth
        get_logging_module get_native_fp4_dtype get_shuffle_block_size get_shuffle_matrix_a_row_indices
        get_shuffle_matrix_sf_a_row_indices get_trtllm_gen_multi_ctas_kv_counter_bytes has_cuda_cudart
        is_confidential_compute is_cutlass_backend_supported is_cvt_rs_supported prepare_jit_additional_args
        set_log_level supported_compute_capability""",
    "xqa": "xqa xqa_mla",
    # Inner modules, from which some programs import.
    "attention._core": "BatchAttention",
    "attention.prims_ts": """BatchDecodePagedTSWrapper BatchMLADecodePagedTSWrapper BatchPrefillPagedTSWrapper
        BatchPrefillTSWrapper batch_decode_mla_with_paged_kv_cache batch_decode_with_paged_kv_cache
        batch_prefill batch_prefill_with_paged_kv_cache prims_ts_batch_decode_with_kv_cache
        prims_ts_batch_decode_with_kv_cache_mla""",
    "attention.prims_ts.context": """BatchPrefillPagedTSWrapper BatchPrefillTSWrapper batch_prefill
        batch_prefill_with_paged_kv_cache""",
    "attention.prims_ts.decode": """BatchDecodePagedTSWrapper batch_decode_with_paged_kv_cache
        prims_ts_batch_decode_with_kv_cache""",
    "attention.prims_ts.mla_decode": """BatchMLADecodePagedTSWrapper batch_decode_mla_with_paged_kv_cache
        prims_ts_batch_decode_with_kv_cache_mla""",
    "comm.allreduce": "TRTLLMAllReduceFusionWorkspace allreduce_fusion create_allreduce_fusion_workspace",
    "comm.dcp_alltoall": """decode_cp_a2a_allocate_mnnvl_workspace decode_cp_a2a_alltoall
        decode_cp_a2a_init_workspace decode_cp_a2a_workspace_size""",
    "comm.mixed_comm": "MixedCommHandler run_mixed_comm",
    "comm.quantized_allreduce": "quantized_all_reduce",
    "comm.trtllm_mnnvl_ar": "MNNVLAllReduceFusionWorkspace",
    "comm.trtllm_moe_alltoall": """MoeAlltoAll moe_a2a_combine moe_a2a_dispatch
        moe_a2a_get_workspace_size_per_rank moe_a2a_initialize moe_a2a_sanitize_expert_ids
        moe_a2a_wrap_payload_tensor_in_workspace""",
    "comm.ulysses": "UlyssesCommunicator dispose_ulysses_a2a init_ulysses_a2a ulysses_a2a",
    "cudnn.decode": "cudnn_batch_decode_with_kv_cache",
    "cudnn.prefill": "cudnn_batch_prefill_with_kv_cache",
    "cute_dsl.add_rmsnorm_fp4quant": "add_rmsnorm_fp4quant",
    "cute_dsl.attention": """BatchDecodeCuteDSLWrapper BatchDecodePagedCuteDSLWrapper
        BatchMLADecodeCuteDSLWrapper BatchPrefillCuteDSLWrapper""",
    "cute_dsl.attention.wrappers": """BatchDecodeCuteDSLWrapper BatchDecodePagedCuteDSLWrapper
        BatchMLADecodeCuteDSLWrapper BatchPrefillCuteDSLWrapper""",
    "cute_dsl.attention.wrappers.batch_decode": "BatchDecodeCuteDSLWrapper BatchDecodePagedCuteDSLWrapper",
    "cute_dsl.attention.wrappers.batch_mla": "BatchMLADecodeCuteDSLWrapper",
    "cute_dsl.attention.wrappers.batch_prefill": "BatchPrefillCuteDSLWrapper",
    "cute_dsl.rmsnorm_fp4quant": "rmsnorm_fp4quant",
    "cute_dsl.sparse.bsa_attn_sm100_blk128": "bsa_attn_sm100_blk128_fwd",
    "cute_dsl.sparse.bsa_attn_sm100_blk64": "bsa_attn_sm100_blk64_fwd",
    "cute_dsl.sparse.bsa_attn_sm120": "bsa_attn_sm120_blk64_fwd",
    "fused_moe.bgmv_moe": "bgmv_moe bgmv_moe_expand bgmv_moe_shrink",
    "fused_moe.core": """cutlass_fused_moe trtllm_bf16_moe trtllm_bf16_routed_moe trtllm_fp4_block_scale_moe
        trtllm_fp4_block_scale_routed_moe trtllm_fp8_block_scale_moe trtllm_fp8_block_scale_routed_moe
        trtllm_fp8_per_tensor_scale_moe trtllm_fp8_per_tensor_scale_routed_moe trtllm_mxint4_block_scale_moe
        trtllm_mxint4_block_scale_routed_moe""",
    "fused_moe.cute_dsl": """B12xMoEWrapper CuteDslMoEWrapper CuteDslMxfp8Mxfp4MoEWrapper b12x_fused_moe
        cute_dsl_fused_moe_mxfp8_mxfp4 cute_dsl_fused_moe_nvfp4""",
    "fused_moe.cute_dsl.b12x_moe": "B12xMoEWrapper b12x_fused_moe",
    "fused_moe.cute_dsl.fused_moe": "CuteDslMoEWrapper cute_dsl_fused_moe_nvfp4",
    "fused_moe.cute_dsl.fused_moe_mxfp8_mxfp4": "CuteDslMxfp8Mxfp4MoEWrapper cute_dsl_fused_moe_mxfp8_mxfp4",
    "fused_moe.fused_routing_dsv3": "fused_topk_deepseek",
    "fused_moe.hash_topk": "hash_topk",
    "fused_moe.moe_lora_delta": "bgmv_moe_gemm1_lora_delta bgmv_moe_gemm2_lora_delta",
    "fused_moe.monomoe": """alloc_scratchpad get_scratchpad_size_bytes has_monomoe interleave_for_tma_wgmma_up
        mono_moe""",
    "fused_moe.prepare": """interleave_moe_scales_for_sm90_mixed_gemm
        interleave_moe_weights_for_sm90_mixed_gemm preprocess_moe_weights_for_sm90_mixed_gemm_humming""",
    "gemm.gemm_base": """SegmentGEMMWrapper batch_deepgemm_fp8_nt_groupwise bmm_bf16 bmm_fp8 bmm_mxfp8
        fp8_blockscale_gemm_sm90 gemm_fp8_nt_blockscaled gemm_fp8_nt_groupwise group_deepgemm_fp8_nt_groupwise
        group_gemm_fp8_nt_groupwise group_gemm_mxfp8_mxfp4_nt_groupwise group_gemm_nvfp4_nt_groupwise mm_bf16
        mm_fp4 mm_fp8 mm_mxfp8 tgv_gemm_sm100""",
    "gemm.gemm_bf16_fp4": "mm_bf16_fp4 prepare_bf16_fp4_weights",
    "gemm.gemm_svdquant": "mm_nvfp4_svdquant nvfp4_quantize_smooth svdquant_linear",
    "gemm.kernels.grouped_gemm_masked_wrapper": "grouped_gemm_nt_masked",
    "gemm.routergemm": "mm_M1_16_K6144_N256 mm_M1_16_K7168_N128 mm_M1_16_K7168_N256 tinygemm_bf16",
    "grouped_mm.core": "grouped_mm_bf16 grouped_mm_fp4 grouped_mm_fp8 grouped_mm_mxfp8",
    "grouped_mm.cute_sm120_fp8_groupwise": "moe_gemm_fp8_nt_groupwise",
    "grouped_mm.cute_sm120_fp8_groupwise.core": "moe_gemm_fp8_nt_groupwise",
    "grouped_mm.cute_sm120_mxfp8_groupwise": "moe_gemm_mxfp8_nt_groupwise",
    "grouped_mm.cute_sm120_mxfp8_groupwise.core": "moe_gemm_mxfp8_nt_groupwise",
    "mamba.checkpointing_ssu": "checkpointing_ssu",
    "mamba.selective_state_update": "selective_state_update",
    "mla._core": """BatchMLAPagedAttentionWrapper trtllm_batch_decode_with_kv_cache_mla
        xqa_batch_decode_with_kv_cache_mla""",
    "msa_ops.proxy_score": "msa_proxy_score msa_proxy_score_fp4",
    "msa_ops.sparse_decode": "msa_sparse_decode_attention",
    "msa_ops.sparse_prefill": "msa_sparse_attention",
    "msa_ops.sparse_topk_select": "msa_topk_select",
    "quantization.fp4_quantization": """block_scale_interleave e2m1_and_ufp8sf_scale_to_float fp4_quantize
        get_fp4_quantization_module mxfp4_dequantize mxfp4_dequantize_host mxfp4_quantize
        nvfp4_batched_quantize nvfp4_block_scale_interleave nvfp4_kv_dequantize nvfp4_kv_dequantize_paged
        nvfp4_kv_quantize nvfp4_quantize nvfp4_quantize_paged_kv_cache scaled_fp4_grouped_quantize
        shuffle_matrix_a shuffle_matrix_sf_a silu_and_mul_nvfp4_quantize""",
    "quantization.fp8_quantization": """mxfp8_dequantize_host mxfp8_grouped_quantize mxfp8_quantize
        per_token_group_quant_8bit""",
    "quantization.kernels.mxfp4_quantize": "mxfp4_quantize_cute_dsl",
    "quantization.kernels.mxfp8_quantize": "mxfp8_quantize_cute_dsl",
    "quantization.kernels.nvfp4_quantize": "nvfp4_quantize_cute_dsl nvfp4_quantize_per_token_cute_dsl",
    "quantization.packbits": "packbits segment_packbits",
    "topk_varlen.topk_varlen": "top_k_varlen",
}

# Modules whose names `flashinfer` itself has, too.
_INNER = ("comm", "cudnn", "cute_dsl", "gdn_kernels", "jit", "logits_processor", "msa_ops", "utils")
AT_THE_TOP = [name for name in NAMES if "." not in name and name not in _INNER]

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
