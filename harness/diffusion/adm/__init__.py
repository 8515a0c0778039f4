"""OpenAI's guided-diffusion: its diffusion models and noisy classifiers, converted to diffusers' blocks."""
