"""Runs one step of a compiled pipeline: the command that Vertex and Kubeflow start in our image.

    python -m pipeline.cluster_step --executor_class_path ... --json_serialized_invocation_args ...

TFX's own command does the work. What it is given is completed first, because it finds the Python
class of an artifact by its type:

- A type of ours has a name that TFX's compiler accepts, "pointnet.DataReport", and TFX would import
  just that. It is given the class's path.
- Open-source Kubeflow hands an input over without its type. The component's own definition, which
  comes as an argument too, has it.

On Kubeflow it is followed by what its launcher needs: see folder_markers.py.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from pipeline.folder_markers import remove_folder_markers
from pipeline.google_storage import first_line

TFX_COMMAND = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
COMMAND = ("python", "-m", "pipeline.cluster_step")
# For COMMAND: nothing but objects with content is left below the step's outputs.
WITHOUT_MARKERS = "--without_folder_markers"
_INVOCATION = "--json_serialized_invocation_args"
_INPUTS = "--json_serialized_inputs_spec_args"
# Where each of our own types of artifacts is defined, below components.
TYPES = {
    "pointnet.CloudQuarantine": "artifacts.CloudQuarantine",
    "pointnet.DataReport": "artifacts.DataReportPage",
    "pointnet.Notification": "artifacts.SentNotification",
    "pointnet.PredictedParts": "artifacts.PredictedPartsFiles",
    "pointnet.SegmentationReport": "artifacts.SegmentationReportPage",
}


def completed(invocation: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """An ExecutorInput in which every artifact has a type that TFX can import.

    Args:
      invocation: the ExecutorInput, as JSON.
      inputs: the component's ComponentInputsSpec, as JSON; empty where the platform gives none.

    Raises:
      AttributeError, KeyError, TypeError, yaml.YAMLError: they are none.
    """
    definitions = inputs.get("artifacts", {})
    made: dict[str, Any] = json.loads(json.dumps(invocation))
    for side in ("inputs", "outputs"):
        for key, listed in made.get(side, {}).get("artifacts", {}).items():
            for artifact in listed.get("artifacts", []):
                given = artifact.get("type", {})
                if not any(given.values()) and side == "inputs" and key in definitions:
                    given = dict(definitions[key]["artifactType"])
                artifact["type"] = _importable(given)
    return made


def _importable(given: dict[str, Any]) -> dict[str, Any]:
    """An ArtifactTypeSchema whose title is a class's path if the type is ours."""
    if given.get("schemaTitle") in TYPES:
        return {"schemaTitle": f"components.{TYPES[given['schemaTitle']]}"}
    schema = yaml.safe_load(given.get("instanceSchema", "")) or {}
    if schema.get("title") not in TYPES:
        return given
    title = f"components.{TYPES[schema['title']]}"
    return {"instanceSchema": yaml.safe_dump({**schema, "title": title})}


def _complete(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's arguments with the ExecutorInput completed, and the addresses of its outputs.

    Raises:
      SystemExit: what they hold is no such message, in a sentence.
    """
    if _INVOCATION not in arguments:
        return list(arguments), []
    place = arguments.index(_INVOCATION) + 1
    try:
        inputs = arguments[arguments.index(_INPUTS) + 1] if _INPUTS in arguments else "{}"
        made = completed(json.loads(arguments[place]), json.loads(inputs))
        listed = made.get("outputs", {}).get("artifacts", {}).values()
        outputs = [one["uri"] for artifacts in listed for one in artifacts.get("artifacts", [])]
    except (AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        raise SystemExit(
            f"pipeline.cluster_step: {_INVOCATION} or {_INPUTS} is not what a launcher fills in "
            f"({type(error).__name__}: {first_line(error)}); this command is for the steps of a "
            "compiled pipeline"
        ) from None
    return [*arguments[:place], json.dumps(made), *arguments[place + 1 :]], outputs


def main() -> None:
    """Runs the step, as TFX's command does with these arguments.

    Raises:
      SystemExit: the step's status; a sentence where the arguments are none, or folder markers
        cannot be removed.
    """
    given = [argument for argument in sys.argv[1:] if argument != WITHOUT_MARKERS]
    arguments, outputs = _complete(given)
    clean = len(given) < len(sys.argv) - 1
    sys.argv = [TFX_COMMAND, *arguments]
    try:
        runpy.run_module(TFX_COMMAND, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise
    if clean:
        _remove_markers(outputs)


def _remove_markers(outputs: Sequence[str]) -> None:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        remove_folder_markers(outputs)
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise SystemExit(
            "pipeline.cluster_step: the step is done, but the objects that stand for folders in "
            f"its outputs cannot be removed ({first_line(error)}), and Kubeflow does not hand on "
            "outputs that have such; the step's account needs roles/storage.objectAdmin on the "
            "bucket"
        ) from None


if __name__ == "__main__":
    main()
