"""From desired and existing entries to the plan: changes in waves, each with its reason. Pure."""

from tasks.plan.blocks import Block, Cause, EntryPlan, Situation, Wave
from tasks.plan.build import Plan, Remembered, build_plan, exact_paths

__all__ = ["Block", "Cause", "EntryPlan", "Plan", "Remembered", "Situation", "Wave", "build_plan", "exact_paths"]
