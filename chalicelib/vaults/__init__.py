"""Where recovery points are kept: S3 buckets, and any object storage that libcloud speaks to."""
