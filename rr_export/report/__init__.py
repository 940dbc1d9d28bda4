"""What a proof found, as a table for people, and as JSON, JUnit, SARIF and Markdown for what reads it in CI."""
