"""IAM as far as the packaged roles need it: what calls ask for, what roles allow."""
