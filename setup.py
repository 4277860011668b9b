"""Packages the pipeline: its packages, their data files, and the command ``pointnet-parts``."""

from setuptools import find_packages, setup

PACKAGES = ["schema", "preprocessing", "model", "reports", "serving", "components", "pipeline"]

setup(
    name="pointnet-parts",
    version="0.1.0",
    description="A TFX production pipeline for PointNet part segmentation of point clouds",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    # Written out, so that an editable install puts this folder on the path as it is: a room or a
    # module added later is found without installing again.
    package_dir={"": "."},
    packages=find_packages(include=PACKAGES + [f"{package}.*" for package in PACKAGES]),
    package_data={
        package: [f"**/*.{kind}" for kind in ("pbtxt", "yaml", "json", "html", "css", "js", "svg")]
        for package in PACKAGES
    },
    # Loose ranges; the exact, hashed versions of both stacks are in requirements/.
    install_requires=[
        "tfx>=1.16,<1.22",
        "annotated-types>=0.6",
        "apache-beam[gcp]>=2.60",
        "click>=8",
        "google-crc32c>=1.5",
        "h5py>=3.9",
        "isal>=1.6",
        "jinja2>=3.1",
        "keras>=3.3,<4",
        "keras-tuner>=1.4",
        "matplotlib>=3.7",
        "numpy",
        "pooch[progress]>=1.8",
        "pyarrow",
        "pydantic>=2.5,<3",
        "PyYAML>=6",
        "requests>=2.31",
        "rich>=13",
        "tenacity>=8",
        "tensorboard",
        "tensorflow-serving-api",
    ],
    entry_points={"console_scripts": ["pointnet-parts = pipeline.cli:main"]},
)
