"""The engine on a pretrained model; what is here is run by PAIRLOOP_REAL_MODEL."""
