"""Many runs, or one large scoring, as jobs: what there is to do, the plan, and the engine."""
