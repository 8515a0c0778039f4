"""Arithmetic of adversarial attacks: pure functions of tensors, one concern a file; evaluation and training use them.

A loss maps logits (B, K) and labels (B,) to values (B,), larger for a worse prediction; a step maps a gradient
(B, ...) to a displacement; a projection maps a displacement back onto the ball of the threat model.

Auto-PGD is built on these in three layers: `apgd`, the ascent; `passes`, its looks at a classifier; `attempts`, starts
and targets. `library` runs FAB and Square of pyautoattack.
"""
