"""Every case of the tables: interpreted for every target, with the graph rules and without, and compiled to C."""

from __future__ import annotations

import control_cases
import contraction_cases
import elementwise_cases
import fused_cases
import movement_cases
import recurrent_cases
import reduction_cases
