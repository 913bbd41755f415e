"""Schedules: jobs that run by the calendar, each period once, whoever runs the scheduler and however often it dies."""
