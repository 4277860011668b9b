"""TFX components and TFMA metrics; each module is one component or what several of them use."""
