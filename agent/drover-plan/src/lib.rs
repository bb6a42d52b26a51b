//! Pure planning stages of drover: classify, plan, review, and the plan lint.
