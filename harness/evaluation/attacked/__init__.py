"""What attacks did: judged on unseen noise, checked for obfuscated gradients, held against certificates."""
