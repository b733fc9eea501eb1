"""What is known of kernels' times: records of measured candidates, the file that keeps them, and a
model that predicts the candidates nobody measured. No compiler and no layer is imported here."""
