"""The flows under the names that deployments of mixlaw 0.1.0 have in their entrypoints.

Those say `flows.deployed.study`, `flows.deployed.refresh` and `flows.deployed.proxy`; `mixlaw deploy` now registers
`flows.study_flow.study_flow` and so on. Old deployments keep working; deploying again brings them up to date.
"""

from flows.proxy_flow import proxy_flow as proxy
from flows.refresh_flow import refresh_flow as refresh
from flows.study_flow import study_flow as study

__all__ = ["proxy", "refresh", "study"]
