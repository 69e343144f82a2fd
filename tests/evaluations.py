"""Archives of plain vectors whose truth is planted, for tests of evaluations."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from embed.signature import unit
from search.baselines import ENCODER, MetadataSpace, Space, VectorSpace
from search.evaluated import Evaluated
from search.evaluation import Evaluation, evaluate
from search.protocols import protocols_of
from search.targets import Role, Target, target_of
from search.verdict import Finding, findings


@dataclass
class Planted:
    """Cases, a row each; what is left None is unknown of all."""

    vectors: npt.NDArray[np.float64]
    outcome: npt.NDArray[np.object_]
    patients: npt.NDArray[np.int64]
    sites: npt.NDArray[np.int64] | None = None
    views: npt.NDArray[np.object_] | None = None
    days: npt.NDArray[np.float64] | None = None
    phases: npt.NDArray[np.object_] | None = None
    usable: npt.NDArray[np.bool_] | None = None
    nuisance: list[Target] = field(default_factory=list)

    @property
    def cases(self) -> Evaluated:
        n = len(self.patients)
        unknown = np.full(n, None, object)
        return Evaluated(
            kind="xray",
            case_ids=np.array([f"case{row:04}" for row in range(n)], object),
            patients=self.patients,
            usable=np.ones(n, bool) if self.usable is None else self.usable,
            sites=np.full(n, -1) if self.sites is None else self.sites,
            views=unknown if self.views is None else self.views,
            sexes=unknown,
            ages_years=np.full(n, np.nan),
            days=np.full(n, np.nan) if self.days is None else self.days,
            phases=unknown if self.phases is None else self.phases,
            groupings=() if self.sites is None else (("site", self.sites),),
        )

    @property
    def encoder(self) -> VectorSpace:
        rows = unit(self.vectors.astype(np.float32))
        return VectorSpace(ENCODER, "planted", rows, self.cases.usable)

    @property
    def target(self) -> Target:
        return target_of("died", Role.DISEASE, self.outcome, title="death")

    def evaluate(self, *, k: int, spaces: list[Space] | None = None) -> Evaluation:
        cases = self.cases
        usual: list[Space] = [self.encoder, MetadataSpace(cases)]
        every = usual if spaces is None else spaces
        protocols, _ = protocols_of(cases, np.flatnonzero(cases.usable), k=k)
        pairs = [(every[0].name, space.name) for space in every[1:]]
        return evaluate(cases, every, protocols, [self.target, *self.nuisance], k=k, pairs=pairs, replicates=200)

    def finding(self, *, k: int = 5) -> Finding:
        views = len({view for view in self.cases.views if view})
        (found,) = findings(self.evaluate(k=k), [self.target], views=views)
        return found


def yes_no(truth: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
    return np.where(truth, "yes", "no").astype(object)


def value(found: Evaluation, metric: str, *, space: str = ENCODER, protocol: str = "other patients", average: str = "micro", target: str = "died") -> float:  # fmt: skip
    (score,) = [
        s for s in found.scores
        if (s.metric, s.space, s.protocol, s.average, s.target) == (metric, space, protocol, average, target)
    ]  # fmt: skip
    return score.value
