"""Where versions come from, and what their origin lets them do."""
