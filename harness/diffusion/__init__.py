"""Diffusion models as the harness uses them: schedules, one-step denoising, diffusion-driven adaptation."""
