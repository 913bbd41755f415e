"""`python -m producer.cli`, for where no console script is installed."""

from producer.cli import main

main()
