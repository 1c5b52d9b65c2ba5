"""Packaging of fairseq_distil: what it needs at run time, and what its developers need besides.

The exact versions that are tested, these packages' own dependencies included, are in constraints.txt.
"""

from setuptools import find_packages, setup

setup(
    name="fairseq-distil",
    version="0.1.0",
    description="DistilBERT pre-training and task-specific distillation as a fairseq plugin",
    license="MIT",
    packages=find_packages(include=["fairseq_distil", "fairseq_distil.*"]),
    python_requires=">=3.11,<3.13",
    install_requires=[
        # The plugin builds on internals of this one release, which itself pins hydra-core and omegaconf.
        "fairseq-fixed==0.12.3.1",
        "hydra-core==1.3.2",
        "matplotlib>=3.10",
        "numpy>=2.0",
        "omegaconf==2.3.0",
        "onnx>=1.23",
        "onnxruntime>=1.32",
        "safetensors>=0.8",
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "sentencepiece>=0.2.3",
        "tensorboard>=2.20",
        "tokenizers>=0.23",
        "torch>=2.11",
        "tqdm>=4.66",
        "transformers>=5.17",
    ],
    extras_require={
        "dev": ["hypothesis>=6.150", "pytest>=9.0", "pytest-timeout>=2.4", "pytest-xdist>=3.8", "ruff>=0.17"]
    },
)
