"""Keeps recovery points: in S3 buckets, and in any object storage that libcloud supports."""
