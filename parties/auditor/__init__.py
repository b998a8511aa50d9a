"""The auditor's side: collecting evidence from members, and judging it without them."""
