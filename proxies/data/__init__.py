"""From text to the windows a proxy reads: tokenizer, token store, sampler."""
