"""Gradients of classifiers along the diffusion: do they point towards the class?"""
