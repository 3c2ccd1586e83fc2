"""Writes `probe.json`: classifiers of features, from scikit-learn, and LogME, from a plain reading of its paper.

Clouds of features around a mean for each class are in the file, with what a standardised multinomial logistic
regression, ten nearest neighbours by cosine and nearest class means say about held-out ones.
"""

import golden
import numpy
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler


def clouds(seed: int, train: int, held_out: int, channels: int, classes: int, spread: float):
    random = numpy.random.default_rng(seed)
    means = random.normal(size=(classes, channels))
    scales = 10.0 ** random.uniform(-1, 1, size=channels)
    labels = random.integers(0, classes, size=train + held_out)
    features = (means[labels] + spread * random.normal(size=(train + held_out, channels))) * scales + scales
    features = features.astype(numpy.float32).round(4)
    return features[:train], labels[:train], features[train:], labels[train:]


def logme(features, labels, classes: int) -> float:
    """Maximum evidence of Bayesian linear regression, one class against the others; eigenvectors in full, no shortcuts."""
    features = features.astype(numpy.float64)
    count, channels = features.shape
    values, vectors = numpy.linalg.eigh(features.T @ features)
    values = values.clip(min=0)
    evidences = []
    for target in [(labels == label).astype(numpy.float64) for label in range(classes)]:
        alpha = beta = ratio = 1.0
        projection = vectors.T @ (features.T @ target)
        for _ in range(11):
            gamma = (values / (values + ratio)).sum()
            mean = vectors @ (beta * projection / (alpha + beta * values))
            norm, residual = (mean**2).sum(), ((target - features @ mean) ** 2).sum()
            alpha, beta = gamma / (norm + 1e-5), (count - gamma) / (residual + 1e-5)
            converged = abs(alpha / beta - ratio) / ratio < 0.01
            ratio = alpha / beta
            if converged:
                break
        evidence = channels / 2 * numpy.log(alpha) + count / 2 * numpy.log(beta)
        evidence -= 0.5 * numpy.log(alpha + beta * values).sum() + beta / 2 * (residual + 1e-5)
        evidence -= alpha / 2 * (norm + 1e-5) + count / 2 * numpy.log(2 * numpy.pi)
        evidences.append(evidence / count)
    return float(numpy.mean(evidences))


def case(name: str, penalty: float, seed: int, train: int, held_out: int, channels: int, classes: int, spread: float) -> dict:
    features, labels, queries, truth = clouds(seed, train, held_out, channels, classes, spread)
    scaler = StandardScaler().fit(features.astype(numpy.float64))
    standard, standard_queries = scaler.transform(features), scaler.transform(queries)
    regression = LogisticRegression(C=1 / (train * penalty), tol=1e-10, max_iter=100_000).fit(standard, labels)
    assert list(regression.classes_) == list(range(classes))
    predicted = regression.predict(standard_queries)
    return {
        "name": name,
        "classes": classes,
        "penalty": penalty,
        "features": [golden.single(row) for row in features],
        "labels": labels.tolist(),
        "queries": [golden.single(row) for row in queries],
        "truth": truth.tolist(),
        "logits": regression.decision_function(standard_queries).tolist(),
        "predicted": predicted.tolist(),
        "macro_f1": f1_score(truth, predicted, labels=range(classes), average="macro", zero_division=0),
        "neighbours": KNeighborsClassifier(10, metric="cosine").fit(standard, labels).predict(standard_queries).tolist(),
        "class_means": NearestCentroid().fit(standard, labels).predict(standard_queries).tolist(),
        "logme": logme(features, labels, classes),
    }


if __name__ == "__main__":
    golden.write_json(
        "probe.json",
        {
            "versions": golden.versions() | {"scikit-learn": sklearn.__version__},
            "cases": [
                case("apart", 1e-2, 1, 80, 30, 6, 4, 0.5),
                case("close, weak penalty", 1e-4, 2, 80, 30, 6, 3, 1.5),
                case("close, strong penalty", 1.0, 2, 80, 30, 6, 3, 1.5),
                case("more channels than images", 1e-2, 3, 25, 20, 40, 3, 1.0),
            ],
        },
    )
