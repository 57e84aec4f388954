-- When a run's files were deleted. Its row, its history and its attempts stay.
ALTER TABLE run ADD COLUMN deleted_at INTEGER;
