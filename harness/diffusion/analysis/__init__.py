"""Analysis of denoisers: data whose optimal denoiser has a closed form, and the derivative of a denoiser."""
