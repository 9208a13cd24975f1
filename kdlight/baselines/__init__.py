"""What distillation is compared with beside other networks: classical features and classifiers."""
