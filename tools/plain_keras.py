"""The reference recipe in plain Keras, as most people would write it; what the benchmark compares with."""

import json
import os
import time

import keras
import numpy as np
from keras import layers

EPOCHS = int(os.environ.get("BENCHMARK_EPOCHS", "10"))
SEED = int(os.environ.get("BENCHMARK_SEED", "0"))


class Epochs(keras.callbacks.Callback):
    """Keep the seconds and CPU seconds from the start to the end of each epoch, and the weights there."""

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter(), time.process_time()
        self.seconds, self.cpu_seconds, self.weights = [], [], []

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start[0])
        self.cpu_seconds.append(time.process_time() - self.start[1])
        self.weights.append(self.model.get_weights())


keras.utils.set_random_seed(SEED)
with np.load(os.environ["MNIST_PATH"]) as file:
    x_train, y_train = file["x_train"], file["y_train"]
    x_test, y_test = file["x_test"], file["y_test"]
x_train = x_train.astype("float32")[..., np.newaxis] / 255
x_test = x_test.astype("float32")[..., np.newaxis] / 255
y_train = keras.utils.to_categorical(y_train, 10)
y_test = keras.utils.to_categorical(y_test, 10)

model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
done = Epochs()
options = {"batch_size": 128, "epochs": EPOCHS, "validation_split": 0.1, "verbose": 0}
history = model.fit(x_train, y_train, **options, callbacks=[done]).history
test_accuracy = []
for weights in done.weights:
    model.set_weights(weights)
    test_accuracy.append(model.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"])
print(
    json.dumps(  # each a list with a number for every epoch
        {
            "seconds": done.seconds,
            "cpu_seconds": done.cpu_seconds,
            "val_accuracy": history["val_accuracy"],
            "test_accuracy": test_accuracy,
        }
    )
)
