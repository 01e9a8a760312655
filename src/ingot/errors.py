"""Every error that ingot raises on purpose, and the stable codes users may match on."""

from __future__ import annotations

CODES: dict[str, str] = {
    "cache-unwritable": "the folder of the build cache cannot be written",
    "compiler-failed": "the C compiler refused generated code",
    "compiler-not-found": "no usable C compiler",
    "external-data-missing": "a file of external weights is missing or too short",
    "external-data-outside": "a file of external weights lies outside the model's folder",
    "framework-failed": "the process in which a framework converts its model crashed or took too long",
    "framework-missing": "a package that the importer of the model's format needs is not installed",
    "index-range": "an index that the model computes or is given is outside the tensor, found while running",
    "input-dtype": "an input array has the wrong dtype",
    "input-name": "an unknown or missing input name",
    "input-rank": "an input array has the wrong number of dimensions",
    "input-shape": "an input array has the wrong shape",
    "input-unreadable": "an input file cannot be read as what it should be",
    "internal": "a bug in ingot: the compiler broke one of its own rules",
    "link-failed": "the linker or the archiver refused the objects",
    "memory-exceeded": "the model needs more memory than --max-memory allows",
    "memory-exhausted": "there is not enough memory to run the model",
    "model-cyclic": "nodes or functions of the model depend on themselves",
    "model-empty": "the model file has no bytes",
    "model-invalid": "the model is damaged or breaks a rule of ONNX",
    "model-not-found": "the model file does not exist or cannot be read",
    "model-not-onnx": "the file is neither an ONNX model nor of a format that ingot imports",
    "model-opset": "the model is for a version of ONNX that is too old or too new",
    "model-too-large": "the model declares more elements than any real model has",
    "model-truncated": "the model file is cut short",
    "option-invalid": "an option or argument that makes no sense",
    "output-array": "an array given for an output has the wrong dtype, shape or layout in memory",
    "output-exists": "the output folder holds something that is not a package",
    "output-name": "an unknown output name",
    "output-unwritable": "the output cannot be written there",
    "outputs-differ": "two runtimes give different outputs for one model",
    "package-damaged": "files of the package are missing, changed or make no sense",
    "package-format": "the package is of another format or lacks what is asked of it",
    "package-not-found": "there is no package in that folder",
    "peer-missing": "a runtime to compare with is not installed or not usable",
    "precision-unsupported": "the target or this machine cannot compute in that precision",
    "rule-unknown": "no graph rule has that name",
    "run-failed": "the model stopped while running",
    "shape-mismatch": "shapes that do not fit together",
    "shape-unknown": "a shape cannot be derived at compile time",
    "structure-unknown": "the length of a sequence or the presence of an optional is known only at run time",
    "target-mismatch": "this processor lacks instructions that the package was compiled for",
    "target-unknown": "no such target",
    "tuning-invalid": "the file of tuning results is missing, damaged or of another format",
    "unsupported": "an operator, dtype or attribute that ingot cannot compile or convert",
    "weights-differ": "a network's weights have other sizes than its layers",
    "weights-missing": "a network's weights are not there, or not for all of its layers",
}


class IngotError(Exception):
    """A problem that the user can act on.

    code: a stable key of `CODES`. where: the node, file or option. cause: what is wrong. remedy: what to do about it.
    """

    def __init__(self, code: str, cause: str, *, where: str = "", remedy: str = "") -> None:
        assert code in CODES, code
        self.code, self.cause, self.where, self.remedy = code, cause, where, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy[0].upper()}{self.remedy[1:]}." if self.remedy else ""
        return f"[{self.code}] {place}{self.cause.rstrip('.')}.{remedy}"
